"""Weights as pictures."""

import numpy as np
from numpy.typing import NDArray

LARGEST = 512


def picture(w: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A weight in shades of grey: black where it is zero, white at its largest.

    The last axis of the weight is the width of the picture, the others
    together its height. What is larger than 512 pixels is cut into as many
    parts, each shown by its largest entry, so that what is black is zero.

    Args:
        w: array of two or more axes.

    Returns:
        Array `(height, width)` of shades from 0 to 255.
    """
    size = np.nan_to_num(np.abs(w.astype("float64")), nan=0.0, posinf=0.0)
    size = size.reshape(-1, w.shape[-1])
    for axis in (0, 1):
        length = size.shape[axis]
        if length > LARGEST:
            starts = np.arange(LARGEST) * length // LARGEST
            size = np.maximum.reduceat(size, starts, axis=axis)
    largest = size.max(initial=0.0)
    shades = np.ceil(255.0 * size / largest) if largest else size
    return shades.astype(np.uint8)
