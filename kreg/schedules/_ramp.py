"""A ramp: from one value to another in a number of steps."""

from abc import abstractmethod
from typing import Any

from keras import ops

from kreg._arguments import nonnegative_number, positive_integer
from kreg._types import Tensor
from kreg.schedules._scalar import ScalarSchedule, value_dtype


class Ramp(ScalarSchedule):
    """Base of the ramps: checked arguments, and ends that are exact."""

    def __init__(self, start: float, end: float, steps: int) -> None:
        self.start = nonnegative_number("start", start)
        self.end = nonnegative_number("end", end)
        self.steps = positive_integer("steps", steps)

    @abstractmethod
    def inside(self, fraction: Tensor) -> Tensor:
        """The value where `fraction` of the ramp, above 0 and below 1, is done.

        At the ends it may be off by rounding.
        """

    def __call__(self, step: Tensor) -> Tensor:
        done = ops.cast(ops.convert_to_tensor(step), value_dtype())
        fraction = ops.clip(done / self.steps, 0.0, 1.0)
        value = ops.where(done <= 0, self.start, self.inside(fraction))
        return ops.where(done >= self.steps, self.end, value)

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "steps": self.steps}
