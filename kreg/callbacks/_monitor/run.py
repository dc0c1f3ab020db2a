"""One `fit` under a monitor: when weights are read, logged and warned of."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kreg.binding.loss_parts import loss_parts
from kreg.callbacks._monitor.log import RunLog, model_figures
from kreg.statistics import Finding, Reading
from kreg.statistics.fit_findings import findings_in_fit
from kreg.statistics.reader import Reader, WeightsBefore


class IntervalLosses:
    """The mean data loss over the samples since the last reading.

    The means that `fit` logs begin with the epoch, so they show changes late.
    """

    def __init__(self) -> None:
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start anew, as the metrics of the model do at this time."""
        self._total, self._count = 0.0, 0.0

    def data_loss(self, model: keras.Model) -> float | None:
        """The mean since the last call; None where the model records none."""
        parts = loss_parts(model)
        if parts is None:
            return None
        total, count = parts.data_loss_sum()
        loss, samples = total - self._total, count - self._count
        self._total, self._count = total, count
        return loss / samples if samples > 0 else None


class MonitoredRun:
    """Reads the weights when a reading is due, logs them, warns of mistakes.

    Args:
        log: where to write.
        every: the number of batches from reading to reading; None to read only
            at the ends of epochs.
        params: the `params` of a Keras callback: the number of `epochs`, and
            the number of `steps` in an epoch or None.
        reader: reads the weights.
        check: whether to warn of the findings of `kreg.check`.
    """

    def __init__(
        self,
        log: RunLog,
        every: int | None,
        params: Mapping[str, Any],
        reader: Reader,
        check: bool,
    ) -> None:
        self.log = log
        self._every = every
        self._steps: int | None = params.get("steps")
        self._epochs: int | None = params.get("epochs")
        self._reader = reader
        self._check = check
        self._warned: set[str] = set()
        self._first_epoch = True
        self._losses = IntervalLosses()
        self._before: WeightsBefore | None = None
        self._last: Reading | None = None
        self._batches = self._epoch_start = 0

    def begin(self, model: keras.Model) -> None:
        """Log the model as it is before training, if it has weights yet."""
        if model.built:
            self._add(model, self._read(model, None))

    def begin_epoch(self) -> None:
        """Begin to count the batches of an epoch."""
        self._epoch_start = self._batches
        self._losses.begin_epoch()

    def is_before_reading(self, batch: int, batches_at_once: int) -> bool:
        """Whether `take_weights` must be called before a batch.

        Args:
            batch: its number in the epoch, from 0.
            batches_at_once: the number of batches that Keras runs before it
                calls callbacks again.
        """
        last = batch + batches_at_once - 1
        ends_epoch = self._steps is not None and last + 1 >= self._steps
        if self._before is None or ends_epoch or self._is_due(last):
            return True
        self._before.is_fresh = False
        return False

    def take_weights(self, model: keras.Model) -> None:
        """Remember the weights before an update."""
        if self._before is None and model.built:
            self._before = self._reader.weights_before(model)
        if self._before is not None:
            self._before.take()

    def end_batch(self, batch: int) -> bool:
        """Count a batch; return whether to call `read_step` now."""
        due = self._is_due(batch)
        self._batches = self._epoch_start + batch + 1
        return due

    def read_step(self, model: keras.Model) -> None:
        """Log the weights, and the mean data loss since the last reading."""
        self._add(model, self._read(model, self._losses.data_loss(model)))

    def end_epoch(
        self, model: keras.Model, logs: dict[str, Any]
    ) -> dict[str, float]:
        """Log the weights and the losses of an epoch.

        Returns:
            The figures of the whole model, by their names.
        """
        data_loss = logs.get("data_loss")
        last = self._last
        if last is None or last.step != _step(model):
            # A curve holds losses of batches or of epochs, not both.
            epoch_loss = None if self._every else data_loss
            last = self._add(model, self._read(model, epoch_loss))
        if self._first_epoch:
            # Penalties exceed a data loss of 0, but that is no mistake.
            comparable = data_loss and math.isfinite(data_loss)
            loss = data_loss if comparable else None
            self._warn_once(findings_in_fit(model, data_loss=loss))
        self._first_epoch = False
        figures = model_figures(last)
        # `fit` itself logs `penalty`, as the mean over the epoch.
        del figures["penalty"]
        if data_loss is not None and "val_data_loss" in logs:
            gap = logs["val_data_loss"] - data_loss
            self.log.add_points(last.step, {"kreg/generalization_gap": gap})
            figures["generalization_gap"] = gap
        return figures

    def end(self, model: keras.Model) -> None:
        """Log the weights that training leaves, if they were not logged yet."""
        reading = self._read(model, None)
        if self._last is None or _reading_key(reading) != _reading_key(
            self._last
        ):
            self._add(model, reading)
        self.log.end(reading.step)

    def _is_due(self, batch: int) -> bool:
        if self._every is None:
            return False
        after = self._epoch_start + batch + 1
        return after // self._every > self._batches // self._every

    def _read(self, model: keras.Model, data_loss: float | None) -> Reading:
        compiled = self._before is not None
        return self._reader(model, compiled=compiled, data_loss=data_loss)

    def _add(self, model: keras.Model, reading: Reading) -> Reading:
        if self._last is None:
            self._introduce(model, reading)
        self.log.add(reading)
        self._last = reading
        self._warn_of_nan(reading)
        return reading

    def _introduce(self, model: keras.Model, reading: Reading) -> None:
        """Log what the model is, and warn of the findings of `kreg.check`."""
        planned = None
        if self._steps and self._epochs:
            batches = self._steps * self._epochs
            optimizer = model.optimizer
            planned = batches // (optimizer.gradient_accumulation_steps or 1)
        findings = findings_in_fit(model, steps=planned or None)
        self.log.introduce(reading, findings)
        self._warn_once(findings)

    def _warn_once(self, findings: Sequence[Finding]) -> None:
        """Warn of the findings of rules that were not warned of before."""
        new = [f for f in findings if f.rule not in self._warned]
        self._warned.update(finding.rule for finding in new)
        for finding in new if self._check else ():
            warnings.warn(str(finding), stacklevel=2)

    def _warn_of_nan(self, reading: Reading) -> None:
        """Warn once if weights hold NaN or infinite entries."""
        bad = [w.path for w in reading.weights if not math.isfinite(w.l1_norm)]
        if bad and "nan" not in self._warned:
            self._warned.add("nan")
            rest = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            warnings.warn(
                f"At step {reading.step} these weights hold NaN or infinite "
                f"entries: {', '.join(bad[:3])}{rest}. Training cannot recover "
                "from that: lower the learning rate or clip gradients.",
                stacklevel=2,
            )


def _step(model: keras.Model) -> int:
    return int(ops.convert_to_numpy(model.optimizer.iterations))


def _reading_key(reading: Reading) -> Any:
    """A key that equal readings share; NaN equals NaN, as texts."""
    return reading.step, [
        (w.path, w.zeros, str(w.l1_norm), str(w.l2_norm), str(w.max_norm))
        for w in reading.weights
    ]
