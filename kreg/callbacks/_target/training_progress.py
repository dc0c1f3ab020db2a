"""How much of a training is done."""

from collections.abc import Mapping
from typing import Any

# In a first epoch of unknown length, half of it is taken to be done after so
# many batches.
_HALF = 1000


class TrainingProgress:
    """The part of `fit` that is done, in [0, 1], from epoch and batch alone.

    Args:
        params: what Keras tells callbacks: `epochs`, and `steps` per epoch,
            None for a generator of unknown length. The first epoch, in which
            progress is a guess, then tells its length.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._epochs: int = params["epochs"]
        self._steps: int | None = params.get("steps")
        self._epoch = self._batches = 0

    @property
    def now(self) -> float:
        """The progress."""
        if self._steps is None:
            part = self._batches / (self._batches + _HALF)
        else:
            part = min(self._batches / self._steps, 1.0)
        return min((self._epoch + part) / self._epochs, 1.0)

    @property
    def batches(self) -> int | None:
        """The number of batches in all epochs; None if it is not known."""
        return None if self._steps is None else self._epochs * self._steps

    @property
    def is_last_epoch(self) -> bool:
        """Whether no epoch is to follow."""
        return self._epoch == self._epochs - 1

    def begin_epoch(self, epoch: int) -> None:
        """Note that an epoch begins."""
        self._epoch, self._batches = epoch, 0

    def end_batch(self, batch: int) -> int:
        """Note that a batch is done; return how many are new since the last."""
        before, self._batches = self._batches, batch + 1
        return self._batches - before

    def end_epoch(self) -> None:
        """Note that the epoch is over, however long it was."""
        if self._steps is None and self._batches:
            self._steps = self._batches
