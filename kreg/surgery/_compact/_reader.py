"""A layer whose units each read several channels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kreg.surgery._compact._signal import Channels, Values


@dataclass(frozen=True)
class Reader:
    """Which units of a layer read which channels.

    Args:
        layer: the path of the layer.
        inputs: the channels that it reads.
        units: the channels that it makes.
        reads: shape (inputs, units), whether a weight between them is not 0.
        constants: what is constant among the inputs, NaN elsewhere.
        folds: whether the bias can make up for any constant channel. If not,
            it can for one that is 0.
        merges: whether the weights of one constant channel can make up for
            another that is not 0.
    """

    layer: str
    inputs: Channels
    units: Channels
    reads: NDArray[np.bool_]
    constants: Values
    folds: bool
    merges: bool

    def wanted(self, units: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The inputs that the given units need to have."""
        settled = np.logical_or(self._foldable, self._mergeable)
        wanted: NDArray[np.bool_] = np.logical_and(
            self._read_by(units), np.logical_not(settled)
        )
        return wanted

    def unsettled(
        self, inputs: NDArray[np.bool_], units: NDArray[np.bool_]
    ) -> int | None:
        """An input to keep for others that are constant, if there is none yet.

        Args:
            inputs: which inputs are kept.
            units: which units are kept.
        """
        removed = self._read_by(units) & self._mergeable & ~inputs
        if not removed.any() or (self._mergeable & inputs).any():
            return None
        size = np.where(removed, np.abs(self.constants), -1.0)
        return int(np.argmax(size))

    def _read_by(self, units: NDArray[np.bool_]) -> NDArray[np.bool_]:
        read: NDArray[np.bool_] = np.any(self.reads[:, units], axis=1)
        return read

    @property
    def _foldable(self) -> NDArray[np.bool_]:
        if self.folds:
            return ~np.isnan(self.constants)
        return self.constants == 0.0

    @property
    def _mergeable(self) -> NDArray[np.bool_]:
        if not self.merges or self.folds:
            return np.zeros(len(self.constants), bool)
        return ~np.isnan(self.constants) & (self.constants != 0.0)
