"""The parts of the loss in a training or test step written by the user."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import keras
from keras import ops

from kreg._types import Tensor
from kreg.binding.binding import (
    BoundPenalty,
    BoundRegularizer,
    ObservedRegularizer,
)
from kreg.binding.idle_penalties import idle_weights
from kreg.binding.loss_parts import (
    ACTIVITY_PENALTY,
    DATA_LOSS,
    PENALTY,
    LossParts,
)
from kreg.binding.step_record import StepRecord, not_recording, total
from kreg.foreign_objects import attribute_or_none, result_or_none


def proximal_penalties(
    model: keras.Model, record: StepRecord
) -> dict[int, keras.Variable]:
    """The weights whose penalties act by proximal steps without being read.

    Args:
        model: a bound model.
        record: the record of the step so far.

    Returns:
        The weights, by the `id` of the runtime object on each, without those
        that no training step has updated so far.
    """
    unread = {
        id(bound): variable
        for variable in model.trainable_weights
        if isinstance(bound := variable.regularizer, BoundPenalty)
        and id(bound) not in record.reads
        and not bound.passes_gradient(bound.clock())
    }
    idle = idle_weights(model) if unread else {}
    return {k: v for k, v in unread.items() if id(v) not in idle}


def penalty_value(variable: keras.Variable) -> Tensor:
    """The present penalty of a weight, evaluated without recording it."""
    with not_recording():
        return ops.stop_gradient(variable.regularizer(variable))


def with_parts(logs: Any, parts: LossParts) -> Any:
    """The logs that a step has returned, with the parts of its loss added."""
    if not isinstance(logs, Mapping) or not parts.are_added_to_logs:
        return logs
    others = {name: log for name, log in logs.items() if name != parts.name}
    return {**parts.means(), **others}


class OwnStep:
    """The parts of the loss in one step written by the user.

    The loss is known if the step returns it as `loss` in its logs. It may be
    the loss of the batch, or a mean that a metric of the model keeps. In that
    case the parts are means with the same weights, and add up to it.

    The object is created before the step, and holds the penalties at the
    weights' values at that time.

    Args:
        model: the model.
        parts: its loss parts.
    """

    def __init__(self, model: keras.Model, parts: LossParts) -> None:
        self._model = model
        self._parts = parts
        self._penalties: dict[int, Tensor] = {}
        for variable in model.trainable_weights:
            regularizer = variable.regularizer
            if isinstance(regularizer, (BoundRegularizer, ObservedRegularizer)):
                value = result_or_none(partial(penalty_value, variable))
                if value is not None:
                    self._penalties[id(regularizer)] = value
        self._trackers = [
            _MeanBefore(metric)
            for metric in attribute_or_none(model, "metrics") or ()
            if isinstance(metric, keras.metrics.Mean)
        ]
        self._means = [_MeanBefore(mean) for mean in parts.metrics]

    def count(
        self, logs: Any, record: StepRecord, samples: Tensor, *, training: bool
    ) -> None:
        """Add the parts of the loss to the means, once the step has ended.

        Args:
            logs: the logs that the step has returned.
            record: the record of the step.
            samples: the size of the batch.
            training: whether it is a training step.
        """
        penalty = total(self._values(record, record.reads))
        activity = self._activity_penalty(record)
        loss = logs.get("loss") if isinstance(logs, Mapping) else None
        if record.data_losses and replicas() > 1:
            loss = None  # it may be the part of one device only
        values: dict[str, Tensor] = {}
        if loss is not None and activity is not None:
            loss, samples = self._loss(loss, samples)
            values[DATA_LOSS] = total([loss, -penalty, -activity])
        elif record.is_counted:
            return
        elif record.data_losses:
            losses, sizes = zip(*record.data_losses, strict=True)
            values[DATA_LOSS] = total(losses) / len(losses)
            samples = sizes[0]
        applied = (
            [key for key in record.applied if key not in record.reads]
            if training
            else proximal_penalties(self._model, record)
        )
        values[PENALTY] = total([penalty, *self._values(record, applied)])
        if activity is not None and record.added_losses:
            values[ACTIVITY_PENALTY] = activity
        if record.is_counted:
            for mean in self._means:
                mean.restore()
        self._parts.add(values, samples)

    def _values(self, record: StepRecord, keys: Iterable[int]) -> list[Tensor]:
        """The penalties with the `id`s in `keys`, before the step.

        For a weight that the step has created, it is the value that the step
        has read.
        """
        value_by_id = {
            key: read.value
            for key, read in record.reads.items()
            if _is_reachable(read.value)
        }
        value_by_id.update(self._penalties)
        return [value_by_id[key] for key in keys if key in value_by_id]

    def _activity_penalty(self, record: StepRecord) -> Tensor | None:
        """The terms of `add_loss` in the loss; None if they are not accessible.

        On JAX they exist only inside the function that is differentiated, so
        they are known only if `compute_loss` has counted them.
        """
        if record.is_counted:
            return self._means[-1].change() / self._means[-1].weight()
        if all(map(_is_reachable, record.added_losses.values())):
            return record.activity_penalty()
        return None

    def _loss(self, logged: Any, samples: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of the batch, and its weight in the mean that is logged.

        Args:
            logged: the loss that the step returns.
            samples: the size of the batch.
        """
        logged = ops.stop_gradient(ops.convert_to_tensor(logged))
        dtype = keras.backend.result_type("float32", logged.dtype)
        logged = ops.mean(ops.cast(logged, dtype))
        loss, weight = logged, ops.cast(samples, dtype)
        for tracker in self._trackers:
            added = ops.cast(tracker.weight(), dtype)
            mean = ops.cast(tracker.metric.result(), dtype)
            is_logged = ops.logical_and(added > 0, ops.equal(mean, logged))
            divisor = ops.where(is_logged, added, ops.ones_like(added))
            of_batch = ops.cast(tracker.change(), dtype) / divisor
            loss = ops.where(is_logged, of_batch, loss)
            weight = ops.where(is_logged, added, weight)
        return loss, weight


class _MeanBefore:
    """A `Mean` metric, and its state before a step."""

    def __init__(self, metric: keras.metrics.Mean) -> None:
        self.metric = metric
        self._total = ops.convert_to_tensor(metric.total) + 0
        self._count = ops.convert_to_tensor(metric.count) + 0

    def change(self) -> Tensor:
        """The amount that the step has added to the weighted sum."""
        return self.metric.total - self._total

    def weight(self) -> Tensor:
        """The amount that the step has added to the sum of the weights."""
        return self.metric.count - self._count

    def restore(self) -> None:
        """Undo what the step has added."""
        self.metric.total.assign(self._total)
        self.metric.count.assign(self._count)


def replicas() -> int:
    """The number of copies of the model that run the current step together."""
    if keras.backend.backend() == "tensorflow":
        from kreg.binding import _tensorflow

        return _tensorflow.replicas()
    return 1


def _is_reachable(tensor: Any) -> bool:
    """Whether the function around the step can use a tensor of the step."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from kreg.binding import _tensorflow

        return _tensorflow.is_reachable(tensor)
    return backend == "torch"
