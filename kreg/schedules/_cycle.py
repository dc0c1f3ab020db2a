"""A schedule that repeats."""

from typing import Any

import keras
from keras import ops

from kreg._arguments import positive_integer
from kreg._types import Tensor
from kreg.schedules._scalar import (
    ScalarSchedule,
    Schedule,
    evaluate,
    number_or_schedule,
    serialized,
)


@keras.saving.register_keras_serializable(package="kreg")
class Cycle(ScalarSchedule):
    """Repeats the first `period` steps of `schedule` for ever.

    Formula: `schedule(step % period)`.

    Args:
        schedule: a `keras.optimizers.schedules.LearningRateSchedule` or a
            float >= 0.
        period: int >= 1, the length of one cycle in optimizer iterations.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor.

    Raises:
        TypeError: if `schedule` is neither a number nor a schedule, or
            `period` not an int.
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
