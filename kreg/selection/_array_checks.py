"""Whether arrays are rows that a model can be trained on."""

from typing import TYPE_CHECKING

import keras
import numpy as np

if TYPE_CHECKING:
    from kreg.selection._data import Arrays


def check_arrays(name: str, arrays: "Arrays") -> None:
    """Raise if arrays are no rows to train on.

    Args:
        name: what the user calls them.
        arrays: inputs, targets and weights.

    Raises:
        ValueError: if they are empty, differ in their numbers of rows, or hold
            what is no finite number.
    """
    leaves = [
        leaf
        for leaf in keras.tree.flatten(
            (arrays.x, arrays.y, arrays.sample_weight)
        )
        if leaf is not None
    ]
    shapes = [leaf.shape for leaf in leaves]
    sizes = {shape[0] if shape else None for shape in shapes}
    if len(sizes) != 1 or None in sizes:
        raise ValueError(
            f"`{name}` must hold arrays with equally many rows. "
            f"Received: arrays of the shapes {shapes}"
        )
    if sizes == {0}:
        raise ValueError(f"`{name}` must hold rows. Received: no row")
    for leaf in leaves:
        if leaf.dtype.kind in "fc" and not np.isfinite(leaf).all():
            bad = int((~np.isfinite(leaf)).sum())
            raise ValueError(
                f"`{name}` must hold finite numbers: impute or leave out what "
                f"is missing. Received: {bad} entries that are NaN or infinite "
                f"in an array of shape {leaf.shape}"
            )
    for leaf in keras.tree.flatten((arrays.y, arrays.sample_weight)):
        if leaf is not None and leaf.dtype.kind not in "biufc":
            raise ValueError(
                f"`{name}` must hold numbers as targets and weights: number "
                "the classes, such as by "
                "`numpy.unique(y, return_inverse=True)[1]`. Received: an array "
                f"of dtype {leaf.dtype}"
            )
    if isinstance(arrays.sample_weight, np.ndarray) and (
        (arrays.sample_weight < 0).any() or not arrays.sample_weight.any()
    ):
        raise ValueError(
            f"`sample_weight` in `{name}` must be non-negative, and not all "
            "zero. Received: sample_weight from "
            f"{arrays.sample_weight.min()} to {arrays.sample_weight.max()}"
        )
