"""The metrics `data_loss`, `penalty` and `activity_penalty`, in the logs."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import keras
from keras import ops, tree

from kreg._keras_private import LoggedMeans, hide_from_lists, list_metric
from kreg._types import Tensor

DATA_LOSS = "data_loss"
PENALTY = "penalty"
ACTIVITY_PENALTY = "activity_penalty"


class LossParts(LoggedMeans):
    """The parts of the loss of a model, which `fit` logs beside `loss`.

    They are means over the samples of an epoch, like `loss`. `update_state`
    does nothing, because custom training steps often call it with predictions
    for every metric of the model.

    Keras takes the logs of an epoch from the metrics if these have the names
    that the steps return, and from the last step otherwise. The metrics do not
    know the losses of a step that the user has written. There the parts are
    not results of this metric, but are added to the logs that steps return.

    Args:
        model: the model.
        are_added_to_logs: whether the parts are added to the logs that steps
            return.
    """

    def __init__(self, model: keras.Model, *, are_added_to_logs: bool) -> None:
        names = (DATA_LOSS, PENALTY, ACTIVITY_PENALTY)
        super().__init__(names, name="loss_parts")
        self.are_added_to_logs = are_added_to_logs
        self._known: frozenset[str] = frozenset(
            () if are_added_to_logs else (DATA_LOSS, PENALTY)
        )
        list_metric(model, self)
        hide_from_lists(model, names)
        _parts[model] = self

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, whatever is passed."""

    def add(self, values: Mapping[str, Tensor], samples: Tensor) -> None:
        """Add the parts of the loss of a batch to the means.

        Args:
            values: a scalar tensor for each known part, by its name. A missing
                penalty counts as 0.
            samples: the size of the batch.
        """
        self._known = self._known.union(values)
        for mean in self.metrics:
            if mean.name in values or mean.name != DATA_LOSS:
                value = values.get(mean.name, 0.0)
                mean.update_state(value, sample_weight=samples)

    def result(self) -> dict[str, Any]:
        """The known means; none if they are added to the logs instead."""
        return {} if self.are_added_to_logs else self.means()

    def means(self) -> dict[str, Tensor]:
        """The means of the known parts, by name."""
        return {
            mean.name: mean.result()
            for mean in self.metrics
            if mean.name in self._known
        }

    def data_loss_sum(self) -> tuple[float, float]:
        """The data loss summed over the samples so far, and their number."""
        mean = self.metrics[0]
        total, count = (
            float(ops.convert_to_numpy(v)) for v in (mean.total, mean.count)
        )
        return total, count


_parts: WeakKeyDictionary[keras.Model, LossParts] = WeakKeyDictionary()


def loss_parts(model: keras.Model) -> LossParts | None:
    """The parts of the loss of a bound model; None for any other model."""
    return _parts.get(model)


def forget_loss_parts(model: keras.Model) -> None:
    """Discard the loss parts of `model`."""
    _parts.pop(model, None)


def batch_size(*batches: Any) -> Tensor:
    """The number of samples in a batch: the length of its first tensor."""
    for leaf in tree.flatten(batches):
        if len(getattr(leaf, "shape", ())) > 0:
            return ops.shape(leaf)[0]
    return 1
