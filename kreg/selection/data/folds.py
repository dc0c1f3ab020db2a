"""Splits rows into cross-validation folds, or into complementary halves."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg._arguments import positive_integer
from kreg.selection.data.rows import Arrays, class_labels, refuse_one_class


@dataclass(frozen=True)
class Fold:
    """The rows of one fold.

    Args:
        train: the indices of the rows to train on.
        validation: the indices of the held-out rows, disjoint from `train`.
    """

    train: NDArray[Any]
    validation: NDArray[Any]


def checked_folds(folds: Any) -> int | list[Any]:
    """Return `folds` as a number of at least 2, or as a list of pairs."""
    if isinstance(folds, Iterable) and not isinstance(folds, (str, bytes)):
        pairs = list(folds)
        if pairs and all(
            isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs
        ):
            return pairs
        raise ValueError(
            "`folds` must be a number, or hold pairs of row indices "
            "`(train, validation)`, such as `KFold(5).split(x)` of "
            f"scikit-learn returns. Received: folds={folds!r}"
        )
    number = positive_integer("folds", folds)
    if number < 2:
        raise ValueError(
            f"`folds` must be at least 2. Received: folds={folds!r}"
        )
    return number


def folds_of(arrays: Arrays, folds: int | list[Any], seed: int) -> list[Fold]:
    """Split the rows into folds.

    scikit-learn's `KFold` holds out every row once. If the targets are class
    labels, its `StratifiedKFold` also spreads every class evenly.

    Args:
        arrays: the rows.
        folds: the number of folds, or the pairs `(train, validation)` of row
            indices, as `checked_folds` returns them.
        seed: int, determines the folds; not used for pairs.

    Raises:
        ValueError: if there are fewer rows than folds; if a fold has no
            training rows or no held-out rows, has a row in both or an index
            that does not exist, or has training rows of a single class.
    """
    pairs = (
        _random_pairs(arrays, folds, seed) if isinstance(folds, int) else folds
    )
    checked = [Fold(*map(_indices, pair)) for pair in pairs]
    for number, fold in enumerate(checked, 1):
        _refuse_bad_fold(number, fold, arrays)
    return checked


def _random_pairs(arrays: Arrays, folds: int, seed: int) -> list[Any]:
    from sklearn.model_selection import KFold, StratifiedKFold

    if arrays.size < folds:
        raise ValueError(
            "`folds` must not be more than the number of rows to train on. "
            f"Received: folds={folds}, with {arrays.size} rows"
        )
    rows, labels = np.zeros(arrays.size), class_labels(arrays.y)
    splitter = KFold
    if labels is not None:
        # Integer targets may be counts or identifiers with few rows for each
        # value. `StratifiedKFold` raises if no value has as many rows as folds.
        counts = np.unique(labels, return_counts=True)[1]
        splitter = StratifiedKFold if counts.max() >= folds else KFold
    with warnings.catch_warnings():
        # scikit-learn warns of classes with fewer rows than folds, but still
        # spreads them as evenly as possible.
        warnings.simplefilter("ignore", UserWarning)
        split = splitter(folds, shuffle=True, random_state=seed).split
        return list(split(rows, labels))


def _indices(rows: Any) -> NDArray[Any]:
    indices = np.asarray(rows)
    if indices.dtype == bool:
        return np.flatnonzero(indices)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError(
            "`folds` must hold row indices: one-dimensional arrays of integers "
            "or booleans. Received: an array of shape "
            f"{indices.shape} and dtype {indices.dtype}"
        )
    return indices


def _refuse_bad_fold(number: int, fold: Fold, arrays: Arrays) -> None:
    for name, rows in (("train", fold.train), ("validation", fold.validation)):
        if not len(rows):
            raise ValueError(
                "Every fold must have rows to train on and rows to leave out. "
                f"Received: fold {number} with no {name} rows"
            )
        if rows.min() < 0 or rows.max() >= arrays.size:
            raise ValueError(
                f"`folds` must hold indices from 0 to {arrays.size - 1}. "
                f"Received: fold {number} with {name} rows from {rows.min()} "
                f"to {rows.max()}"
            )
    shared = np.intersect1d(fold.train, fold.validation)
    if len(shared):
        raise ValueError(
            "No row may be trained on and left out in the same fold: its score "
            f"would be too good. Received: fold {number} with {len(shared)} "
            f"rows in both, such as {shared[0]}"
        )
    labels = class_labels(arrays.y)
    if labels is not None:
        refuse_one_class(
            f"training (fold {number})", labels[fold.train], labels
        )


def complementary_halves(
    arrays: Arrays, pairs: int, seed: int
) -> list[NDArray[np.int64]]:
    """Random pairs of disjoint halves of the rows.

    If the number of rows is odd, each pair leaves one row out. With more pairs,
    the first ones stay the same.

    Args:
        arrays: the rows.
        pairs: the number of pairs.
        seed: determines the halves.

    Raises:
        ValueError: if there are fewer than four rows, or a half has a single
            class.
    """
    if arrays.size < 4:
        raise ValueError(
            "`data` must have at least four rows to be split into halves. "
            f"Received: {arrays.size} rows"
        )
    generator = np.random.default_rng(seed)
    labels = class_labels(arrays.y)
    half = arrays.size // 2
    halves = []
    for _ in range(pairs):
        order = generator.permutation(arrays.size)
        halves += [np.sort(order[:half]), np.sort(order[half : 2 * half])]
    if labels is not None:
        for rows in halves:
            refuse_one_class("half", labels[rows], labels)
    return halves
