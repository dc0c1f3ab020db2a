"""The halves of the rows that stability selection looks at."""

import numpy as np
from numpy.typing import NDArray

from kreg.selection._class_labels import class_labels, refuse_one_class
from kreg.selection._data import Arrays


def complementary_halves(
    arrays: Arrays, pairs: int, seed: int
) -> list[NDArray[np.int64]]:
    """Disjoint halves, pair by pair; of an odd number one row is left out.

    The first pairs are the same however many there are.

    Args:
        arrays: the rows.
        pairs: how many pairs.
        seed: which rows go together.

    Raises:
        ValueError: if there are too few rows, or a half has one class alone.
    """
    if arrays.size < 4:
        raise ValueError(
            "`data` must have four rows at least to be split into halves. "
            f"Received: {arrays.size} rows"
        )
    generator = np.random.default_rng(seed)
    labels = class_labels(arrays.y)
    half = arrays.size // 2
    found = []
    for _ in range(pairs):
        order = generator.permutation(arrays.size)
        found += [np.sort(order[:half]), np.sort(order[half : 2 * half])]
    if labels is not None:
        for rows in found:
            refuse_one_class("half", labels[rows], labels)
    return found
