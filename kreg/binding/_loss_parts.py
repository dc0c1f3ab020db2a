"""The two parts of a loss, as metrics that `fit` logs."""

from typing import Any

import keras
from keras import ops, tree

from kreg._keras_private import hide_from_lists, list_metric
from kreg._types import Tensor
from kreg.binding._record import take_total


class LossPart(keras.metrics.Mean):
    """The mean of a part of the loss over the samples of an epoch.

    `update_state` does nothing, because custom training steps often call it
    with predictions for every metric of the model; `add` takes its place.
    """

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, whatever is passed."""

    def add(self, value: Tensor, samples: Tensor) -> None:
        """Count `value` for a batch of so many samples."""
        super().update_state(value, sample_weight=samples)


class LossParts:
    """`data_loss` and `penalty` of a model, logged beside `loss`."""

    def __init__(self, model: keras.Model) -> None:
        self.data_loss = LossPart(name="data_loss")
        self.penalty = LossPart(name="penalty")
        for metric in (self.data_loss, self.penalty):
            list_metric(model, metric)
        hide_from_lists(model, (self.data_loss.name, self.penalty.name))

    def add(
        self, model: keras.Model, loss: Tensor, replicas: int, samples: Tensor
    ) -> None:
        """Split the loss of a batch and count its parts.

        Args:
            model: the model; one that overrides `metrics` and leaves these out
                logs neither.
            loss: scalar tensor, the loss of this replica's batch with the
                penalties, divided by the number of replicas.
            replicas: the number of replicas.
            samples: the size of the batch.
        """
        penalty = take_total(keras.backend.standardize_dtype(loss.dtype))
        if any(metric is self.penalty for metric in model.metrics):
            self.penalty.add(penalty, samples)
            self.data_loss.add(loss * replicas - penalty, samples)


def batch_size(x: Any, y_pred: Any) -> Tensor:
    """The number of samples in a batch."""
    for leaf in tree.flatten((x, y_pred)):
        if leaf is not None:
            return ops.shape(leaf)[0]
    return 1
