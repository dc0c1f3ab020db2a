"""`TrainingProgress`: the fraction of `fit` that is done."""

from collections.abc import Mapping
from typing import Any

# A first epoch of unknown length is assumed to be half done after this many
# batches.
_HALF_EPOCH_BATCHES = 1000


class TrainingProgress:
    """The fraction of `fit` that is done, in [0, 1], from epoch and batch.

    Args:
        params: the `params` of a Keras callback: the number of `epochs`, and
            of `steps` in each. For a generator of unknown length `steps` is
            None. Progress is then a guess during the first epoch, which counts
            the steps for the following epochs.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._epochs: int = params["epochs"]
        self._steps: int | None = params.get("steps")
        self._epoch = self._batches = 0

    @property
    def now(self) -> float:
        """The progress."""
        if self._steps is None:
            part = self._batches / (self._batches + _HALF_EPOCH_BATCHES)
        else:
            part = min(self._batches / max(self._steps, 1), 1.0)
        return min((self._epoch + part) / self._epochs, 1.0)

    @property
    def batches(self) -> int | None:
        """The number of batches in all epochs; None if not known yet."""
        return None if self._steps is None else self._epochs * self._steps

    @property
    def epoch(self) -> int:
        """The running epoch, from 0."""
        return self._epoch

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self._epochs

    @property
    def steps(self) -> int:
        """The number of batches of an epoch; in the first, those so far."""
        return self._batches if self._steps is None else self._steps

    def resume(self, steps: int) -> None:
        """Set the number of batches in an epoch of the interrupted `fit`."""
        if self._steps is None and steps:
            self._steps = steps

    @property
    def is_last_epoch(self) -> bool:
        """Whether the running epoch is the last one."""
        return self._epoch == self._epochs - 1

    def begin_epoch(self, epoch: int) -> None:
        """Note that an epoch begins."""
        self._epoch, self._batches = epoch, 0

    def end_batch(self, batch: int) -> int:
        """Note that a batch is done; return the batches since the last call."""
        before, self._batches = self._batches, batch + 1
        return self._batches - before

    def end_epoch(self) -> None:
        """Note that the epoch is over, and its number of batches."""
        if self._steps is None and self._batches:
            self._steps = self._batches
