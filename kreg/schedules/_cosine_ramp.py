"""A ramp along half a cosine wave."""

import math

import keras
from keras import ops

from kreg._types import Tensor
from kreg.schedules._ramp import Ramp


@keras.saving.register_keras_serializable(package="kreg")
class CosineRamp(Ramp):
    """Goes from `start` to `end` along half a cosine, then stays at `end`.

    Flat at both ends: the strength changes slowly where training has just
    begun and where the last zeros are found.

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
