"""Ramps from one value to another: linear, cosine and geometric."""

import math
from abc import abstractmethod
from typing import Any

import keras
from keras import ops

from kreg._arguments import (
    nonnegative_number,
    positive_integer,
    positive_number,
)
from kreg._types import Tensor
from kreg.schedules.scalar_schedule import ScalarSchedule, value_dtype


class Ramp(ScalarSchedule):
    """Base of the ramps: checks arguments and makes the end values exact."""

    def __init__(self, start: float, end: float, steps: int) -> None:
        self.start = nonnegative_number("start", start)
        self.end = nonnegative_number("end", end)
        self.steps = positive_integer("steps", steps)

    @abstractmethod
    def inside(self, fraction: Tensor) -> Tensor:
        """The value after a fraction of the ramp, in [0, 1].

        It need not be exact at 0 and 1, where `__call__` does not use it.
        """

    def __call__(self, step: Tensor) -> Tensor:
        done = ops.cast(ops.convert_to_tensor(step), value_dtype())
        fraction = ops.clip(done / self.steps, 0.0, 1.0)
        value = ops.where(done <= 0, self.start, self.inside(fraction))
        return ops.where(done >= self.steps, self.end, value)

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "steps": self.steps}


@keras.saving.register_keras_serializable(package="kreg")
class LinearRamp(Ramp):
    """Goes from `start` to `end` in a straight line, then stays at `end`.

    The usual choice for warming up a penalty from 0, so that a network first
    fits the data and is then regularized.

    Formula: `start + (end - start) * min(step / steps, 1)`.

    Args:
        start: float >= 0, the value at step 0.
        end: float >= 0, the value from step `steps` on; may be below `start`.
        steps: int >= 1, the length of the ramp in optimizer iterations.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor; its
        value is exactly `start` at step 0 and exactly `end` from `steps` on.

    Raises:
        TypeError: if an argument is not a number, or `steps` not an int.
        ValueError: if `start` or `end` is negative or not finite, or
            `steps < 1`.

    Example:

    >>> import kreg
    >>> ramp = kreg.schedules.LinearRamp(0.0, 0.5, steps=100)
    >>> [float(ramp(step)) for step in (0, 50, 100, 101)]
    [0.0, 0.25, 0.5, 0.5]
    """

    def inside(self, fraction: Tensor) -> Tensor:
        return self.start * (1.0 - fraction) + self.end * fraction


@keras.saving.register_keras_serializable(package="kreg")
class CosineRamp(Ramp):
    """Goes from `start` to `end` along half a cosine, then stays at `end`.

    It is flat at both ends: the strength changes slowly when training begins
    and when the last zeros appear.

    Formula: `start + (end - start) * (1 - cos(pi * f)) / 2` with
    `f = min(step / steps, 1)`.

    Args:
        start: float >= 0, the value at step 0.
        end: float >= 0, the value from step `steps` on; may be below `start`.
        steps: int >= 1, the length of the ramp in optimizer iterations.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor; its
        value is exactly `start` at step 0 and exactly `end` from `steps` on.

    Raises:
        TypeError: if an argument is not a number, or `steps` not an int.
        ValueError: if `start` or `end` is negative or not finite, or
            `steps < 1`.

    Example:

    >>> import kreg
    >>> ramp = kreg.schedules.CosineRamp(0.0, 0.5, steps=100)
    >>> [round(float(ramp(step)), 4) for step in (0, 25, 50, 75, 100, 101)]
    [0.0, 0.0732, 0.25, 0.4268, 0.5, 0.5]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm
        Restarts", ICLR 2017, for the half cosine.
    """

    def inside(self, fraction: Tensor) -> Tensor:
        weight = 0.5 - 0.5 * ops.cos(math.pi * fraction)
        return self.start * (1.0 - weight) + self.end * weight


@keras.saving.register_keras_serializable(package="kreg")
class GeometricRamp(Ramp):
    """Goes from `start` to `end` by a constant factor, then stays at `end`.

    Choose it if `start` and `end` differ by orders of magnitude: the ramp
    spends the same number of steps in each of them.

    Formula: `start * (end / start) ** min(step / steps, 1)`.

    Args:
        start: float > 0, the value at step 0.
        end: float > 0, the value from step `steps` on; may be below `start`.
        steps: int >= 1, the length of the ramp in optimizer iterations.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor; its
        value is exactly `start` at step 0 and exactly `end` from `steps` on.

    Raises:
        TypeError: if an argument is not a number, or `steps` not an int.
        ValueError: if `start` or `end` is not positive and finite, or
            `steps < 1`.

    Example:

    >>> import kreg
    >>> ramp = kreg.schedules.GeometricRamp(0.001, 0.1, steps=100)
    >>> [round(float(ramp(step)), 6) for step in (0, 50, 100, 101)]
    [0.001, 0.01, 0.1, 0.1]

    References:
        Friedman, Hastie and Tibshirani, "Regularization Paths for Generalized
        Linear Models via Coordinate Descent", Journal of Statistical Software
        33(1), 2010, section 2.5, for strengths on a logarithmic grid.
    """

    def __init__(self, start: float, end: float, steps: int) -> None:
        positive_number("start", start)
        positive_number("end", end)
        super().__init__(start, end, steps)

    def inside(self, fraction: Tensor) -> Tensor:
        ratio = self.end / self.start
        return self.start * ops.exp(fraction * math.log(ratio))
