"""Checks of what RegularizationMonitor is given."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kreg._arguments import positive_integer


def frequency(name: str, value: Any) -> int:
    """Return `value` as an int of at least 0."""
    return 0 if value == 0 else positive_integer(name, value)


def local_path(log_dir: Any) -> Path:
    """Return `log_dir` as a path on this machine."""
    if not isinstance(log_dir, (str, os.PathLike)):
        raise TypeError(
            "`log_dir` must be the path of a directory. "
            f"Received: log_dir={log_dir!r} (of type {type(log_dir).__name__})"
        )
    if "://" in os.fspath(log_dir):
        raise ValueError(
            "`log_dir` must be the path of a local directory; copy the log "
            f"from there. Received: log_dir={log_dir!r}"
        )
    return Path(log_dir)


def checked_hparams(
    hparams: Any,
) -> dict[str, float | bool | str] | None:
    """Return `hparams` as a dict of what TensorBoard can show, or None."""
    if hparams is None:
        return None
    if not isinstance(hparams, Mapping) or not all(
        isinstance(name, str) and isinstance(value, (bool, int, float, str))
        for name, value in hparams.items()
    ):
        raise TypeError(
            "`hparams` must be a dict of numbers, bools and strings by name. "
            f"Received: hparams={hparams!r}"
        )
    return dict(hparams)
