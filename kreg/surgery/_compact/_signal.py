"""What is known of the channels of a tensor."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Channels = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """The channels of a symbolic tensor.

    Args:
        channels: the number of each channel. Channels of different tensors
            with the same number stay or go together.
        constants: for each channel the value that it has everywhere whatever
            the model's inputs are; NaN where there is none.
        axis: the axis of the tensor along which the channels lie.
    """

    channels: Channels
    constants: Values
    axis: int

    def with_constants(self, constants: Values) -> Self:
        """The same channels with other values."""
        return replace(self, constants=constants)

    def varying(self) -> Self:
        """The same channels, none of which is known to be constant."""
        return self.with_constants(np.full(len(self.channels), np.nan))
