"""A real data set that comes with scikit-learn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class MissingPackageError(ImportError):
    """A package of an extra is not installed."""


@dataclass(frozen=True)
class Part:
    """Images as rows of 64 grey values in [0, 1], and their labels."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits of 8 by 8 pixels, in three parts."""

    train: Part
    validation: Part
    test: Part


def load_digits(seed: int) -> Digits:
    """Split the digits into 40 % for training, 30 % and 30 %.

    Args:
        seed: int, the seed of the split.

    Returns:
        The three parts, each with the classes in the same proportions.

    Raises:
        MissingPackageError: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingPackageError(
            "the digits come with scikit-learn, which is not installed: "
            "run `pip install 'kreg[examples]'`"
        ) from error
    images, labels = load(return_X_y=True)
    x = (images / 16.0).astype("float32")
    x_train, x_rest, y_train, y_rest = train_test_split(
        x, labels, train_size=0.4, stratify=labels, random_state=seed
    )
    x_val, x_test, y_val, y_test = train_test_split(
        x_rest, y_rest, train_size=0.5, stratify=y_rest, random_state=seed
    )
    return Digits(
        Part(x_train, y_train), Part(x_val, y_val), Part(x_test, y_test)
    )
