"""Schedules made of other schedules: `Delay`, `Join` and `Cycle`."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
from keras import ops

from kreg._arguments import nonnegative_number, positive_integer
from kreg._types import Tensor
from kreg.schedules.scalar_schedule import (
    ScalarSchedule,
    Schedule,
    evaluate,
    number_or_schedule,
    serialized,
    value_dtype,
)


@keras.saving.register_keras_serializable(package="kreg")
class Delay(ScalarSchedule):
    """Holds `before` for `steps` steps, then starts `schedule` at its step 0.

    Formula: `before if step < steps else schedule(step - steps)`.

    Args:
        schedule: a `keras.optimizers.schedules.LearningRateSchedule`, or a
            float >= 0 that is held from step `steps` on.
        steps: int >= 1, the delay in optimizer iterations.
        before: float >= 0, the value until then. Defaults to `0.0`.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor.

    Raises:
        TypeError: if `schedule` is neither a number nor a schedule, or `steps`
            is not an int.
        ValueError: if a number is negative or not finite, or `steps < 1`.

    Example:

    >>> import kreg
    >>> ramp = kreg.schedules.LinearRamp(0.25, 0.5, steps=10)
    >>> late = kreg.schedules.Delay(ramp, steps=100)
    >>> [float(late(step)) for step in (0, 99, 100, 110, 111)]
    [0.0, 0.0, 0.25, 0.5, 0.5]
    """

    def __init__(
        self, schedule: Schedule, steps: int, before: float = 0.0
    ) -> None:
        self.schedule = number_or_schedule("schedule", schedule)
        self.steps = positive_integer("steps", steps)
        self.before = nonnegative_number("before", before)

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.convert_to_tensor(step)
        after = evaluate(self.schedule, ops.maximum(step - self.steps, 0))
        before = ops.cast(self.before, value_dtype())
        return ops.where(step < self.steps, before, after)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": serialized(self.schedule),
            "steps": self.steps,
            "before": self.before,
        }


@keras.saving.register_keras_serializable(package="kreg")
class Join(ScalarSchedule):
    """Runs schedules in sequence, each from its own step 0.

    Formula: `schedules[i](step - boundaries[i - 1])`, where `i` is the number
    of boundaries that are at or below `step`.

    Args:
        schedules: a sequence of at least one
            `keras.optimizers.schedules.LearningRateSchedule` or float >= 0.
        boundaries: a sequence of ints >= 1 in increasing order, one fewer than
            `schedules`: the optimizer iterations at which the second and later
            schedules start.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor; at a
        boundary it is the later schedule's value at 0.

    Raises:
        TypeError: if an entry of `schedules` is neither a number nor a
            schedule, or a boundary is not an int.
        ValueError: if there are not `len(boundaries) + 1` schedules, or the
            boundaries do not increase.

    Example:

    >>> import kreg
    >>> up = kreg.schedules.LinearRamp(0.0, 0.5, steps=100)
    >>> joined = kreg.schedules.Join([up, 0.5, 0.0], boundaries=[100, 300])
    >>> [float(joined(step)) for step in (0, 50, 100, 299, 300)]
    [0.0, 0.25, 0.5, 0.5, 0.0]
    """

    def __init__(
        self, schedules: Sequence[Schedule], boundaries: Sequence[int]
    ) -> None:
        if not isinstance(schedules, Sequence) or not isinstance(
            boundaries, Sequence
        ):
            raise TypeError(
                "`schedules` and `boundaries` must be lists. Received: "
                f"schedules={schedules!r}, boundaries={boundaries!r}"
            )
        self.schedules = [
            number_or_schedule(f"schedules[{i}]", schedule)
            for i, schedule in enumerate(schedules)
        ]
        self.boundaries = [
            positive_integer(f"boundaries[{i}]", boundary)
            for i, boundary in enumerate(boundaries)
        ]
        if len(self.schedules) != len(self.boundaries) + 1:
            raise ValueError(
                "`schedules` must hold one more entry than `boundaries`. "
                f"Received: {len(self.schedules)} schedules and "
                f"boundaries={self.boundaries}"
            )
        if any(later <= first for first, later in pairwise(self.boundaries)):
            raise ValueError(
                "`boundaries` must be in rising order. "
                f"Received: boundaries={self.boundaries}"
            )

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.convert_to_tensor(step)
        value = evaluate(self.schedules[0], step)
        for boundary, schedule in zip(
            self.boundaries, self.schedules[1:], strict=True
        ):
            later = evaluate(schedule, ops.maximum(step - boundary, 0))
            value = ops.where(step < boundary, value, later)
        return value

    def get_config(self) -> dict[str, Any]:
        return {
            "schedules": [serialized(schedule) for schedule in self.schedules],
            "boundaries": self.boundaries,
        }


@keras.saving.register_keras_serializable(package="kreg")
class Cycle(ScalarSchedule):
    """Repeats the first `period` steps of `schedule` forever.

    Formula: `schedule(step % period)`.

    Args:
        schedule: a `keras.optimizers.schedules.LearningRateSchedule` or a
            float >= 0.
        period: int >= 1, the length of one cycle in optimizer iterations.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor.

    Raises:
        TypeError: if `schedule` is neither a number nor a schedule, or
            `period` is not an int.
        ValueError: if a number is negative or not finite, or `period < 1`.

    Example:

    >>> import kreg
    >>> ramp = kreg.schedules.LinearRamp(0.0, 1.0, steps=4)
    >>> saw = kreg.schedules.Cycle(ramp, period=4)
    >>> [float(saw(step)) for step in (0, 1, 3, 4, 5)]
    [0.0, 0.25, 0.75, 0.0, 0.25]

    References:
        Smith, "Cyclical Learning Rates for Training Neural Networks",
        WACV 2017, for cycles of a hyperparameter.
    """

    def __init__(self, schedule: Schedule, period: int) -> None:
        self.schedule = number_or_schedule("schedule", schedule)
        self.period = positive_integer("period", period)

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.convert_to_tensor(step)
        return evaluate(self.schedule, ops.mod(step, self.period))

    def get_config(self) -> dict[str, Any]:
        return {"schedule": serialized(self.schedule), "period": self.period}
