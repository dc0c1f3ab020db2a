"""Saving results: values as JSON, weights in an `.npz` file beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kreg._arguments import checked_path
from kreg.files.atomic import write_whole

Weights: TypeAlias = tuple[NDArray[Any], ...]


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write plain values as JSON, replacing any earlier file."""
    text = json.dumps(record, indent=1)
    path = checked_path("path", path)
    write_whole(path, lambda file: file.write(text.encode()))


def read_record(path: str | Path) -> dict[str, Any]:
    """Read what `write_record` wrote."""
    path = checked_path("path", path)
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def save_result(
    path: str | Path,
    record: Mapping[str, Any],
    weights: Sequence[Weights] | None,
) -> None:
    """Write a result and its weights.

    Args:
        path: the JSON file, replaced if it exists.
        record: plain values.
        weights: lists of arrays for the `.npz` file beside it. None deletes
            an earlier one.
    """
    weights_path = checked_path("path", path).with_suffix(".npz")
    if weights is not None:
        arrays: dict[str, Any] = {
            f"{i}/{k}": array
            for i, part in enumerate(weights)
            for k, array in enumerate(part)
        }
        write_whole(weights_path, lambda file: np.savez(file, **arrays))
    write_record(path, record)
    if weights is None:
        weights_path.unlink(missing_ok=True)


def load_result(
    path: str | Path,
) -> tuple[dict[str, Any], tuple[Weights, ...] | None]:
    """Read the values, and the weights or None, from `save_result`."""
    record = read_record(path)
    weights_path = Path(path).with_suffix(".npz")
    if not weights_path.exists():
        return record, None
    weights: dict[int, dict[int, NDArray[Any]]] = {}
    with np.load(weights_path) as arrays:
        for name in arrays.files:
            i, k = map(int, name.split("/"))
            weights.setdefault(i, {})[k] = arrays[name]
    return record, tuple(
        tuple(part[k] for k in sorted(part))
        for _, part in sorted(weights.items())
    )


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a `pandas.DataFrame`.

    Raises:
        ImportError: if pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "`to_pandas` needs pandas: run `pip install pandas`"
        ) from error
    return pandas.DataFrame(rows)
