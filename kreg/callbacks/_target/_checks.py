"""Checks of what TargetSparsity is given."""

from typing import Any

import keras

from kreg._arguments import nonnegative_number, positive_number
from kreg.binding import Binding


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float in [0, 1)."""
    fraction = nonnegative_number(name, value)
    if fraction >= 1.0:
        raise ValueError(
            f"`{name}` must be a fraction in [0, 1), such as 0.9 for 90 %. "
            f"Received: {name}={value!r}"
        )
    return fraction


def interval(name: str, value: Any) -> tuple[float, float]:
    """Return `value` as two positive floats in order."""
    try:
        lowest, highest = value
    except (TypeError, ValueError):
        raise TypeError(
            f"`{name}` must be two numbers, the lowest and the highest "
            f"multiplier. Received: {name}={value!r}"
        ) from None
    lowest = positive_number(f"{name}[0]", lowest)
    highest = positive_number(f"{name}[1]", highest)
    if lowest > highest:
        raise ValueError(
            f"`{name}` must be the lowest and the highest multiplier, in this "
            f"order. Received: {name}={value!r}"
        )
    return lowest, highest


def check_model(model: keras.Model, binding: Binding) -> None:
    """Raise if training `model` makes no exact zeros."""
    if not model.built:
        raise ValueError(
            "`model` must be built before `fit`, so that its weights are "
            "known: call it on a batch, or `build` it. "
            f"Received: model={model!r}"
        )
    if binding.applier is None:
        raise ValueError(
            "`model` must be compiled with `kreg.ProximalOptimizer`, as in "
            '`model.compile(kreg.ProximalOptimizer("adam"), ...)`: other '
            "optimizers make weights small, never exactly zero. "
            f"Received: optimizer={binding.optimizer!r}"
        )
