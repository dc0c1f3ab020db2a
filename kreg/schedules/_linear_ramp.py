"""A ramp with a constant slope."""

import keras

from kreg._types import Tensor
from kreg.schedules._ramp import Ramp


@keras.saving.register_keras_serializable(package="kreg")
class LinearRamp(Ramp):
    """Goes from `start` to `end` in a straight line, then stays at `end`.

    The plain choice for warming a penalty up from 0, so that a network first
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
