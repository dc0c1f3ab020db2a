"""The losses of the batches between two moments of an epoch."""

import keras

from kreg.binding._loss_parts import LossParts


class IntervalLosses:
    """Means over the samples since the last time, not since the epoch began.

    `fit` logs running means of an epoch, in which a change shows late.
    """

    def __init__(self) -> None:
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start anew, as the metrics of the model do."""
        self._total, self._count = 0.0, 0.0

    def data_loss(self, model: keras.Model) -> float | None:
        """The mean data loss since the last call; None if it is not known."""
        for metric in model.metrics:
            if isinstance(metric, LossParts):
                total, count = metric.data_loss_sum()
                share, samples = total - self._total, count - self._count
                self._total, self._count = total, count
                return share / samples if samples > 0 else None
        return None
