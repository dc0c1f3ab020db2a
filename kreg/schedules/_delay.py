"""A schedule that starts later."""

from typing import Any

import keras
from keras import ops

from kreg._arguments import nonnegative_number, positive_integer
from kreg._types import Tensor
from kreg.schedules._scalar import (
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
            not an int.
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
