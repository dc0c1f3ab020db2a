"""The metrics `data_loss` and `penalty`, and the penalties of a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops, tree

from kreg._keras_private import LoggedMeans, hide_from_lists, list_metric
from kreg._types import Tensor

_record: ContextVar[dict[int, Tensor] | None] = ContextVar(
    "kreg_record", default=None
)


@contextmanager
def recording() -> Iterator[None]:
    """Record the penalties evaluated inside the block, for `take_total`."""
    token = _record.set({})
    try:
        yield
    finally:
        _record.reset(token)


def record(source: object, penalty: Tensor) -> None:
    """Record the penalty of `source`, which replaces an earlier one."""
    entries = _record.get()
    if entries is not None:
        entries[id(source)] = penalty


def is_recording() -> bool:
    """Whether a step of a bound model is running."""
    return _record.get() is not None


def take_total(dtype: str) -> Tensor:
    """The sum of the penalties recorded since the last call, as a scalar."""
    entries = _record.get()
    total = ops.zeros((), dtype)
    if entries is not None:
        for penalty in entries.values():
            total = total + ops.cast(penalty, dtype)
        entries.clear()
    return total


class LossParts(LoggedMeans):
    """`data_loss` and `penalty` of a model, which `fit` logs beside `loss`.

    They are means over the samples of an epoch, like `loss`. `add` updates
    them. `update_state` does nothing, because custom training steps often call
    it with predictions for every metric of the model.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(["data_loss", "penalty"], name="loss_parts")
        list_metric(model, self)
        hide_from_lists(model, [mean.name for mean in self.metrics])

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, whatever is passed."""

    def add(
        self, model: keras.Model, loss: Tensor, replicas: int, samples: Tensor
    ) -> None:
        """Split the loss of a batch, and add its parts to the means.

        Args:
            model: the model. If it overrides `metrics` and leaves these out,
                nothing is logged.
            loss: scalar tensor, the loss of this replica's batch with the
                penalties, divided by the number of replicas.
            replicas: the number of replicas.
            samples: the size of the batch.
        """
        penalty = take_total(keras.backend.standardize_dtype(loss.dtype))
        if any(metric is self for metric in model.metrics):
            parts = (loss * replicas - penalty, penalty)
            for mean, value in zip(self.metrics, parts, strict=True):
                mean.update_state(value, sample_weight=samples)

    def data_loss_sum(self) -> tuple[float, float]:
        """The data loss summed over the samples so far, and their number."""
        mean = self.metrics[0]
        total, count = (
            float(ops.convert_to_numpy(v)) for v in (mean.total, mean.count)
        )
        return total, count


def batch_size(x: Any, y_pred: Any) -> Tensor:
    """The number of samples in a batch."""
    for leaf in tree.flatten((x, y_pred)):
        if leaf is not None:
            return ops.shape(leaf)[0]
    return 1
