"""Results on disk: JSON, and weights in an `.npz` beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kreg.files.atomic import write_whole

Weights: TypeAlias = tuple[NDArray[Any], ...]


def save_result(
    path: str | Path,
    record: Mapping[str, Any],
    weights: Sequence[Weights] | None,
) -> None:
    """Write a result.

    Args:
        path: the JSON file; replaced if it is there.
        record: plain values.
        weights: lists of arrays for the file beside, which is removed where
            there are none.
    """
    path = Path(path)
    beside = path.with_suffix(".npz")
    if weights is not None:
        arrays: dict[str, Any] = {
            f"{i}/{k}": array
            for i, part in enumerate(weights)
            for k, array in enumerate(part)
        }
        write_whole(beside, lambda file: np.savez(file, **arrays))
    text = json.dumps(record, indent=1)
    write_whole(path, lambda file: file.write(text.encode()))
    if weights is None:
        beside.unlink(missing_ok=True)


def load_result(
    path: str | Path,
) -> tuple[dict[str, Any], tuple[Weights, ...] | None]:
    """Read what `save_result` wrote."""
    path = Path(path)
    values = json.loads(path.read_text())
    beside = path.with_suffix(".npz")
    if not beside.exists():
        return values, None
    found: dict[int, dict[int, NDArray[Any]]] = {}
    with np.load(beside) as arrays:
        for name in arrays.files:
            i, k = map(int, name.split("/"))
            found.setdefault(i, {})[k] = arrays[name]
    return values, tuple(
        tuple(found[i][k] for k in sorted(found[i])) for i in sorted(found)
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
