"""`MonitoredRun`: when to read, log and warn during one `fit`."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from kreg._keras_private import gradient_count
from kreg.binding.binding import accumulation_steps, innermost_optimizer
from kreg.binding.loss_parts import loss_parts
from kreg.binding.weight_optimizers import is_trained_by_keras
from kreg.callbacks._monitor.guard import Guard
from kreg.callbacks._monitor.log import RunLog, model_figures
from kreg.callbacks._monitor.log_step import LogStep
from kreg.statistics import Finding, Reading
from kreg.statistics.fit_findings import findings_in_fit
from kreg.statistics.reader import Reader, WeightsBefore
from kreg.statistics.rows import rows_of


class IntervalLosses:
    """The mean data loss over the samples since the last reading.

    The means that `fit` logs begin with the epoch, so they show changes late.
    """

    def __init__(self) -> None:
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start anew, as the metrics of the model do."""
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
    """Reads the weights when a reading is due, logs it, and warns of mistakes.

    Args:
        log: the log to write to.
        every: the number of batches between readings; None to read only at the
            ends of epochs.
        params: the `params` of a Keras callback: the number of `epochs`, and
            the number of `steps` in an epoch or None.
        reader: reads the weights.
        check: whether to warn of the findings of `kreg.check`.
        guard: turns failures into warnings.
        step: counts the steps of the log.
    """

    def __init__(
        self,
        log: RunLog,
        every: int | None,
        params: Mapping[str, Any],
        reader: Reader,
        check: bool,
        guard: Guard,
        step: LogStep,
    ) -> None:
        self.log = log
        self._every = every
        self._steps: int | None = params.get("steps")
        self._epochs: int | None = params.get("epochs")
        self._reader = reader
        self._check = check
        self._guard = guard
        self._step = step
        self._warned: set[str] = set()
        self._first_epoch = True
        self._losses = IntervalLosses()
        self._before: WeightsBefore | None = None
        self._last: Reading | None = None
        self._batches = self._epoch_start = 0
        self._accumulation = 1
        # The number of gradients accumulated before the first batch.
        self._accumulated = 0

    def begin(self, model: keras.Model) -> None:
        """Log the model as it is before training, if it has weights yet."""
        self._step.begin()
        if _has_weights(model):
            self._add(model, None)

    def begin_epoch(self) -> None:
        """Begin to count the batches of an epoch."""
        self._epoch_start = self._batches
        self._losses.begin_epoch()

    def is_before_reading(self, batch: int, batches_at_once: int) -> bool:
        """Whether `take_weights` must be called before a batch.

        While gradients are accumulated, this is a batch that ends an update.

        Args:
            batch: its number in the epoch, from 0.
            batches_at_once: the number of batches that Keras runs before it
                calls callbacks again.
        """
        if self._before is None:
            return True
        last = batch + batches_at_once - 1
        if batches_at_once == 1 and self._accumulation > 1:
            count = self._accumulated + self._epoch_start + batch + 1
            if count % self._accumulation:
                # No update yet, so earlier copies stay those before the last.
                return False
            # The last batch before the next update.
            last += self._accumulation - 1
        ends_epoch = self._steps is not None and last + 1 >= self._steps
        if ends_epoch or self._is_due(last):
            return True
        self._before.is_fresh = False
        return False

    def take_weights(self, model: keras.Model) -> None:
        """Remember the weights before an update."""
        with self._guard("copy the weights before an update"):
            if self._before is None and is_trained_by_keras(model):
                self._accumulation = accumulation_steps(model.optimizer)
                if self._accumulation > 1:
                    inner = innermost_optimizer(model.optimizer)
                    count = ops.convert_to_numpy(gradient_count(inner))
                    self._accumulated = int(count) - self._batches
            if self._before is None and _has_weights(model):
                self._before = self._reader.weights_before(model)
            if self._before is not None:
                self._before.take()

    def end_batch(self, batch: int) -> bool:
        """Count a batch; return whether to call `read_step` now."""
        due = self._is_due(batch)
        self._batches = self._epoch_start + batch + 1
        self._step.count(self._batches)
        return due

    def read_step(self, model: keras.Model) -> None:
        """Log the weights, and the mean data loss since the last reading."""
        data_loss = None
        with self._guard("read the data loss since the last reading"):
            data_loss = self._losses.data_loss(model)
        self._add(model, data_loss)

    def end_epoch(
        self, model: keras.Model, logs: Mapping[str, Any]
    ) -> dict[str, float]:
        """Log the weights and the losses of an epoch.

        Returns:
            The figures of the whole model that could be computed, by name.
        """
        data_loss = self._number_in(logs, "data_loss")
        self._step.end_epoch()
        last = self._last
        if last is None or last.step != self._step.now(model):
            # A curve must not mix losses of batches with losses of epochs.
            last = self._add(model, None if self._every else data_loss)
        if self._first_epoch:
            # Any penalty exceeds a data loss of 0; that is not a mistake.
            comparable = data_loss and math.isfinite(data_loss)
            with self._guard("check the model after an epoch"):
                self._warn_once(
                    self._findings(
                        model, data_loss=data_loss if comparable else None
                    )
                )
        self._first_epoch = False
        figures = {} if last is None else model_figures(last)
        # `fit` itself logs `penalty`, as the mean over the epoch.
        figures.pop("penalty", None)
        val_data_loss = self._number_in(logs, "val_data_loss")
        if data_loss is not None and val_data_loss is not None:
            gap = val_data_loss - data_loss
            step = self._step.now(model) if last is None else last.step
            with self._guard("write the generalization gap"):
                self.log.add_points(step, {"kreg/generalization_gap": gap})
            figures["generalization_gap"] = gap
        return figures

    def end(self, model: keras.Model) -> None:
        """Log the final weights, unless they have been logged."""
        last = self._last
        reading = self._read(model, None)
        if reading is not None and (
            last is None or _reading_key(reading) != _reading_key(last)
        ):
            self._log(model, reading)
        self.log.end(self._step.now(model))

    def _is_due(self, batch: int) -> bool:
        if self._every is None:
            return False
        after = self._epoch_start + batch + 1
        return after // self._every > self._batches // self._every

    def _number_in(self, logs: Mapping[str, Any], name: str) -> float | None:
        """A loss from the logs, which other callbacks may have changed."""
        with self._guard(f"use `{name}` of the logs"):
            if logs.get(name) is not None:
                return float(logs[name])
        return None

    def _add(
        self, model: keras.Model, data_loss: float | None
    ) -> Reading | None:
        """Read and log the weights; None if they cannot be read."""
        reading = self._read(model, data_loss)
        if reading is not None:
            self._log(model, reading)
        return reading

    def _read(
        self, model: keras.Model, data_loss: float | None
    ) -> Reading | None:
        with self._guard("read the weights"):
            compiled = self._before is not None
            reading = self._reader(
                model,
                compiled=compiled,
                data_loss=data_loss,
                guard=self._guard,
            )
            return replace(reading, step=self._step.now(model))
        return None

    def _log(self, model: keras.Model, reading: Reading) -> None:
        is_first, self._last = self._last is None, reading
        if is_first:
            self._introduce(model, reading)
        with self._guard("write the curves"):
            self.log.add(reading)
        self._warn_of_nan(reading)

    def _introduce(self, model: keras.Model, reading: Reading) -> None:
        """Log a summary of the model, and warn of findings of `kreg.check`."""
        findings: Sequence[Finding] = ()
        with self._guard("check the model"):
            planned = None
            # A user's own `train_step` may make several updates per batch.
            if self._steps and self._epochs and is_trained_by_keras(model):
                batches = self._steps * self._epochs
                planned = batches // accumulation_steps(model.optimizer)
            findings = self._findings(model, steps=planned or None)
        with self._guard("write the summary of the model"):
            self.log.introduce(reading, findings)
        self._warn_once(findings)

    def _findings(
        self,
        model: keras.Model,
        *,
        steps: int | None = None,
        data_loss: float | None = None,
    ) -> Sequence[Finding]:
        """The findings of `kreg.check`; none before the model has weights."""
        if not model.weights:
            return ()
        return findings_in_fit(model, steps=steps, data_loss=data_loss)

    def _warn_once(self, findings: Sequence[Finding]) -> None:
        """Warn of the findings of rules that have not been warned of before."""
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


def _has_weights(model: keras.Model) -> bool:
    return next(rows_of(model), None) is not None


def _reading_key(reading: Reading) -> Any:
    """A key that equal readings share; as text, because NaN != NaN."""
    return reading.step, [
        (w.path, w.zeros, str(w.l1_norm), str(w.l2_norm), str(w.max_norm))
        for w in reading.weights
    ]
