"""The strength of a penalty: a number or a schedule, times a multiplier."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kreg._types import Tensor
from kreg.regularizers.argument import Argument
from kreg.schedules.scalar_schedule import (
    Schedule,
    evaluate,
    number_or_schedule,
)

Strengths: TypeAlias = Mapping[str, Tensor | float]
"""The strengths of a penalty at some step, by their names."""


class Strength(Argument):
    """A base strength: a non-negative number or a schedule of one."""

    advice = "pass a schedule, or set `multiplier` on a bound penalty"

    def __init__(self) -> None:
        super().__init__(_base_strength)


def strength_at(
    base: Schedule, step: Tensor, multiplier: Tensor | float
) -> Tensor | float:
    """`base(step) * multiplier`: a float if both are, else a scalar tensor.

    Negative values of a schedule count as 0, so that rounding at its end does
    no harm. NaN stays NaN, to show in the loss.
    """
    if isinstance(base, LearningRateSchedule):
        value = evaluate(base, step)
        base = ops.where(value < 0, ops.zeros_like(value), value)
    if isinstance(multiplier, float):
        return base * multiplier
    return base * ops.convert_to_tensor(multiplier)


def cast_strengths(
    strengths: Strengths, dtype: Any
) -> dict[str, Tensor | float]:
    """The strengths, with tensors cast to a weight's dtype."""
    return {
        name: value if isinstance(value, float) else ops.cast(value, dtype)
        for name, value in strengths.items()
    }


def times(strength: Tensor | float, norm: Callable[[], Tensor]) -> Tensor:
    """`strength * norm()`, without calling `norm` if `strength` is 0."""
    if isinstance(strength, float) and strength == 0.0:
        return 0.0
    return strength * norm()


def _base_strength(name: str, value: Any) -> Schedule:
    strength = number_or_schedule(name, value)
    _check_first_value(name, strength)
    return strength


def _check_first_value(name: str, strength: Schedule) -> None:
    """Raise if a schedule does not start as a finite non-negative scalar."""
    if not isinstance(strength, LearningRateSchedule):
        return
    first = strength(ops.convert_to_tensor(0))
    if keras.backend.is_keras_tensor(first):
        return
    try:
        value = np.asarray(ops.convert_to_numpy(first))
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return
    if value.shape != () or not np.isfinite(value) or value < 0:
        raise ValueError(
            f"`{name}` must be a schedule whose values are non-negative "
            f"finite scalars. Received: {name}={strength!r}, whose value at "
            f"step 0 is {value}"
        )
