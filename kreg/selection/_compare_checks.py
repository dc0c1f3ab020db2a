"""Checks of what `kreg.compare` is given."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from numbers import Real
from typing import Any

import numpy as np

from kreg._arguments import real_number
from kreg.selection._data import Arrays, checked_part, training_data

_OPTIONS = (
    "num_strengths",
    "ratio",
    "direction",
    "batch_size",
    "tolerance",
    "patience",
    "refit",
)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `kreg.path`, if they may be chosen.

    Raises:
        TypeError: if there is another.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise TypeError(
            "`compare` takes of the arguments of `kreg.path` only "
            f"{', '.join(_OPTIONS)}, beside those in its own list. "
            f"Received: {', '.join(unknown)}"
        )
    return dict(options)


def checked_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds, different integers of at least 0.

    Raises:
        TypeError: if they are no integers.
        ValueError: if there are none, or one twice or below 0.
    """
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise TypeError(
            "`seeds` must be an iterable of integers. "
            f"Received: seeds={seeds!r}"
        )
    given = tuple(seeds)
    if not all(
        isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
        for seed in given
    ):
        raise TypeError(
            f"`seeds` must hold integers. Received: seeds={given!r}"
        )
    numbers = tuple(int(seed) for seed in given)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError(
            "`seeds` must hold different integers of at least 0, one at "
            f"least. Received: seeds={given!r}"
        )
    return numbers


def checked_executor(executor: Any) -> Executor | None:
    """`executor`, if it is one."""
    if executor is None or isinstance(executor, Executor):
        return executor
    raise TypeError(
        "`executor` must be a `concurrent.futures.Executor`, such as "
        "`kreg.selection.LocalProcesses()`; of a dask client it is "
        f"`client.get_executor()`. Received: executor={executor!r} (of type "
        f"{type(executor).__name__})"
    )


def train_and_test(data: Any, test: Any, seed: int) -> tuple[Arrays, Any]:
    """The rows that folds are made of, and what to test on.

    Args:
        data: the data, as of `kreg.compare`.
        test: the test data, a fraction of `data`, or None.
        seed: decides which rows a fraction sets aside.

    Raises:
        TypeError: if `data` is not arrays, or `test` no data.
        ValueError: if they are empty, hold NaN, do not fit together, or the
            fraction is not in (0, 1).
    """
    fraction = 0.0
    if isinstance(test, Real):
        fraction = real_number("test", test)
        if not 0.0 < fraction < 1.0:
            raise ValueError(
                "`test` must be data, or a fraction of them in (0, 1). "
                f"Received: test={test!r}"
            )
    train = checked_part("data", data)
    if not isinstance(train, Arrays):
        raise TypeError(
            "`data` must be `(x, y)` or `(x, y, sample_weight)` of arrays, "
            "because folds are made of rows. "
            f"Received: data of type {type(data).__name__}"
        )
    if fraction:
        split = training_data(train, validation_split=fraction, seed=seed)
        return split.train, split.validation
    training_data(train)
    return train, None if test is None else checked_part("test", test)
