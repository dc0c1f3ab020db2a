"""The gradient of the data loss over all training data."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers, replace_optimizer
from kreg._types import Tensor
from kreg.binding.binding import PenaltyApplier
from kreg.binding.bound_models import ensure_bound
from kreg.selection.data.batches import batches_of, in_precision
from kreg.selection.data.order import begin_random_numbers
from kreg.selection.training.models import assign_values, values_of

_FEWEST_ROWS, _MOST_ROWS = 32, 4096
# The maximum number of output entries in memory at once: 64 MB in float32.
_MOST_ENTRIES = 2**24


def rows_at_once(model: keras.Model) -> int:
    """The number of rows to evaluate a model on at once: from 32 to 4096.

    The outputs of all layers must fit into 64 MB; if their shapes are unknown,
    it is 32.
    """
    if getattr(model, "outputs", None) is None:
        return _FEWEST_ROWS
    entries = 0
    for layer in flatten_layers(model):
        # The output of a nested model is that of a layer counted already.
        if isinstance(layer, keras.Model):
            continue
        for output in keras.tree.flatten(getattr(layer, "output", ())):
            if None in output.shape[1:]:
                return _FEWEST_ROWS
            entries += math.prod(output.shape[1:])
    return min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_ENTRIES // max(1, entries)))


class GradientRecorder(PenaltyApplier, keras.optimizers.Optimizer):
    """An optimizer that sums gradients and does not change weights.

    It is a `PenaltyApplier`, so the gradients are those of the data loss,
    without the penalty.
    """

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0, name="gradient_recorder")
        self.inner_optimizer = keras.optimizers.SGD(0.0)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the sums, and a variable for the weight of a batch."""
        if self.built:
            return
        super().build(variables)
        self.batch_weight = self.add_variable((), "ones", name="batch_weight")
        self.sums = self.add_optimizer_variables(variables, "sum")

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        """Add the gradient of a batch to the sum."""
        total = self.sums[self._get_variable_index(variable)]
        weight = ops.cast(self.batch_weight, total.dtype)
        self.assign_add(total, weight * ops.cast(gradient, total.dtype))


class DataGradient:
    """The gradient of a model's data loss, as a function of its weights.

    Args:
        model: a compiled model whose optimizer is a `GradientRecorder`.
        train: the training data.

    Attributes:
        loss: the data loss plus penalties on activities at the last call; NaN
            if a user's own `train_step` does not return its loss.
    """

    def __init__(self, model: keras.Model, train: Any) -> None:
        self.model = model
        self.loss = math.nan
        self._recorder: GradientRecorder = model.optimizer
        self._recorder.build(model.trainable_variables)
        self._train = in_precision(train)
        self._rows_at_once = rows_at_once(model)
        self._state = values_of(model.variables)

    def __call__(self) -> list[NDArray[Any]]:
        """The present gradient, an array for each trainable variable."""
        trained = {id(v) for v in self.model.trainable_variables}
        for total in self._recorder.sums:
            total.assign(ops.zeros(total.shape, total.dtype))
        loss, rows, first = 0.0, 0, 0
        for batch, size in batches_of(self._train, self._rows_at_once):
            # Every batch starts from the same statistics and random seeds.
            for variable, value in zip(
                self.model.variables, self._state, strict=True
            ):
                if id(variable) not in trained:
                    variable.assign(value)
            begin_random_numbers(0)
            first = first or size
            self._recorder.batch_weight.assign(size / first)
            self.model.reset_metrics()
            logs = self._step(batch, size)
            # The gradient includes that of penalties on activities.
            loss += size * float(logs.get("data_loss", math.nan))
            loss += size * float(logs.get("activity_penalty", 0.0))
            rows += size
        self.loss = loss / rows
        return [s * (first / rows) for s in values_of(self._recorder.sums)]

    def _step(self, batch: tuple[Any, ...], size: int) -> dict[str, Any]:
        """Make a train step; return its logs."""
        model = self.model
        if type(model).train_step is keras.Model.train_step:
            return model.train_on_batch(*batch, return_dict=True)
        # `train_on_batch` always passes a `sample_weight`, perhaps None, but a
        # user's own `train_step` may unpack `x, y = data`. `fit` is slower, but
        # passes only the parts that exist.
        parts = zip(("x", "y", "sample_weight"), batch, strict=False)
        history = model.fit(
            **dict(parts), batch_size=size, shuffle=False, verbose=0
        ).history
        return {name: values[-1] for name, values in history.items()}


@contextmanager
def data_gradient(model: keras.Model, train: Any) -> Iterator[DataGradient]:
    """The gradient of a compiled model; afterwards the model is as before."""
    ensure_bound(model)
    optimizer, state = model.optimizer, values_of(model.variables)
    train_function = model.train_function
    replace_optimizer(model, GradientRecorder())
    model.train_function = None
    try:
        yield DataGradient(model, train)
    finally:
        replace_optimizer(model, optimizer)
        model.train_function = train_function
        assign_values(model.variables, state)
