"""Whether a penalty makes zeros or shrinks weights, and ever acts at all."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kreg._types import Tensor
from kreg.foreign_objects import float_or_nan, result_or_none
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Layout, along
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.schedules.scalar_schedule import Schedule, evaluate

# The steps at which schedules are evaluated.
_NEAR = (0, *(10**exponent for exponent in range(7)))


# Late steps. They are irregular to hit different phases of a cycle, and below
# 2**24 to differ in single precision.
_FAR = (
    *(8_400_013 + 2**exponent for exponent in range(23)),
    *(9_100_061, 10_000_019, 12_345_701, 13_999_981, 15_485_863),
)


# If a schedule falls below this value and then becomes 0, that is a rounding.
_UNDERFLOW = 1e-30


class ScheduleCourse:
    """Evaluates the schedules of strengths, and equal schedules only once.

    Args:
        steps: the planned number of updates, or None.
    """

    def __init__(self, steps: int | None) -> None:
        self.steps = steps
        self._results: dict[tuple[str, Any], bool] = {}

    @property
    def end(self) -> str:
        """The end of training, in words."""
        if self.steps is None:
            return "when it has ended"
        return f"at step {self.steps}"

    def is_ever_positive(self, penalty: StrengthRegularizer, name: str) -> bool:
        """Whether a strength is above 0 at any of the evaluated steps."""
        if penalty.multiplier == 0.0:
            return False
        base: Schedule = getattr(penalty, name)
        if not isinstance(base, LearningRateSchedule):
            return base > 0.0
        key = ("positive", _schedule_key(base))
        if key not in self._results:
            self._results[key] = any(v > 0.0 for v in _values(base, _NEAR))
        return self._results[key]

    def is_zero_at_the_end(
        self, penalty: StrengthRegularizer, name: str
    ) -> bool:
        """Whether a scheduled strength is 0 after the planned updates.

        Without a planned number: whether it stays 0 from some step on.
        """
        base: Schedule = getattr(penalty, name)
        if not isinstance(base, LearningRateSchedule):
            return False
        key = ("zero", _schedule_key(base))
        if key not in self._results:
            self._results[key] = (
                _ends_at_zero(base)
                if self.steps is None
                else _is_zero_around(base, self.steps)
            )
        return self._results[key]


def _is_zero_around(schedule: Schedule, step: int) -> bool:
    """Whether a schedule is 0 at `step`, and at the step before or after.

    A cycle may be 0 only at the one step at which it starts anew.
    """
    before, now, after = _values(schedule, (step - 1, step, step + 1))
    return now == 0.0 and (before == 0.0 or after == 0.0)


def _ends_at_zero(schedule: Schedule) -> bool:
    """Whether a schedule stays 0 from some step on, other than by rounding.

    An exponential decay becomes 0 only by rounding to single precision.
    """
    values = _values(schedule, (*_NEAR, *_FAR))
    near, far = values[: len(_NEAR)], values[len(_NEAR) :]
    if any(value != 0.0 for value in far):
        return False
    positive = [s for s, v in zip(_NEAR, near, strict=True) if v > 0.0]
    if not positive:
        return True
    last, zero = positive[-1], _FAR[0]
    while zero > 1.1 * last + 1:
        between = math.isqrt((last + 1) * zero)
        if _values(schedule, (between,))[0] > 0.0:
            last = between
        else:
            zero = between
    return _values(schedule, (last,))[0] > _UNDERFLOW


def _values(schedule: Schedule, steps: Sequence[int]) -> list[float]:
    """A schedule at some steps: 0 where it is negative, NaN where it raises.

    It is evaluated for all steps at once, or one by one if that fails.
    """
    values = result_or_none(
        lambda: ops.convert_to_numpy(
            evaluate(schedule, np.asarray(steps, "int32"))
        )
    )
    if values is None or values.shape != (len(steps),):
        values = [
            float_or_nan(result_or_none(partial(evaluate, schedule, s)))
            for s in steps
        ]
    return [0.0 if value < 0.0 else float(value) for value in values]


def _schedule_key(schedule: LearningRateSchedule) -> Any:
    config = result_or_none(
        lambda: repr(keras.saving.serialize_keras_object(schedule))
    )
    return id(schedule) if config is None else config


def makes_zeros(
    penalty: Penalty, shape: tuple[int, ...], course: ScheduleCourse
) -> bool:
    """Whether the proximal step makes a tiny weight exactly zero.

    Args:
        penalty: the penalty.
        shape: the shape of the weight.
        course: knows which strengths are ever above 0.
    """
    step = min(1.0, penalty.longest_step / 2.0)
    after = _after_step(penalty, shape, course, size=1e-6 * step, step=step)
    return after is not None and bool(ops.any(ops.equal(after, 0.0)))


def shrinks_in_proportion(
    penalty: Penalty, shape: tuple[int, ...], course: ScheduleCourse
) -> bool:
    """Whether a huge weight shrinks by a fraction of its size, as under L2."""
    step, size = min(1.0, penalty.longest_step / 2.0), 1e12
    after = _after_step(penalty, shape, course, size=size, step=step)
    return after is not None and bool(ops.any(ops.less(after, 0.9999 * size)))


def _after_step(
    penalty: Penalty,
    shape: tuple[int, ...],
    course: ScheduleCourse,
    *,
    size: float,
    step: float,
) -> Tensor | None:
    """A weight of equal entries after a proximal step; None if it raises.

    Every strength that is ever above 0 is set to 1. The step is tried on a
    weight with one entry first. If the penalty raises, as it does with a factor
    for each entry, it is tried on the whole shape.
    """
    strengths = {
        name: float(course.is_ever_positive(penalty, name))
        for name in penalty.strength_names()
    }

    def step_on(shape: tuple[int, ...]) -> Tensor:
        all_axes = along(shape, range(len(shape)))
        groups = (
            penalty.grouping(shape, Layout("layer", all_axes, all_axes))
            if penalty.ties is None
            else all_axes
        )
        w = ops.full(shape, size, "float32")
        return penalty.proximal_step(w, step, strengths, groups)

    after = result_or_none(partial(step_on, (1,) * len(shape)))
    return result_or_none(partial(step_on, shape)) if after is None else after
