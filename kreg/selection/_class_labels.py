"""The classes of rows, where the targets are labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_labels(y: Any) -> NDArray[Any] | None:
    """The class of each row, where `y` is one array of labels; else None.

    Labels are integers or booleans, numbers that are all 0 or 1, or rows with
    a single 1.
    """
    if not isinstance(y, np.ndarray) or y.ndim not in (1, 2):
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        one_hot = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
        return y.argmax(axis=1) if one_hot else None
    flat = y.reshape(-1)
    if flat.dtype.kind in "iub" or np.isin(flat, (0, 1)).all():
        return flat
    return None


def refuse_one_class(
    part: str,
    labels: NDArray[Any] | None,
    all_labels: NDArray[Any] | None,
) -> None:
    """Raise if a part has a single class.

    Args:
        part: what to call the part.
        labels: its labels, None where the targets are none.
        all_labels: those of all parts.
    """
    if labels is None or all_labels is None or len(labels) < 2:
        return
    if len(np.unique(labels)) == 1:
        raise ValueError(
            f"The {part} part must have rows of two classes at least: take a "
            "larger part, or another `seed`. "
            f"Received: {len(labels)} rows, all of class {labels[0]}"
        )
