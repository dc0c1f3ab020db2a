"""How far two lists of outputs are apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def largest_difference(
    expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]
) -> float:
    """The largest difference of two entries, relative to the output's size.

    For each output, `max |found - expected| / max |expected|`, and without the
    division where the output is all zero; the largest over all outputs. It is
    infinite if shapes differ or only one of two entries is not finite.
    """
    if [e.shape for e in expected] != [f.shape for f in found]:
        return float("inf")
    return max(map(_difference, expected, found), default=0.0)


def _difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    one, other = expected.astype("float64"), found.astype("float64")
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return float("inf")
    one, other = one[finite], other[finite]
    if not np.all(np.isfinite(other)):
        return float("inf")
    largest = float(np.max(np.abs(other - one), initial=0.0))
    return largest / (float(np.max(np.abs(one), initial=0.0)) or 1.0)
