"""A ramp with a constant ratio between steps."""

import math

import keras
from keras import ops

from kreg._arguments import positive_number
from kreg._types import Tensor
from kreg.schedules._ramp import Ramp


@keras.saving.register_keras_serializable(package="kreg")
class GeometricRamp(Ramp):
    """Multiplies by the same factor every step, from `start` to `end`.

    Strengths are compared by their logarithm, so this ramp visits every order
    of magnitude for the same number of steps.

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
