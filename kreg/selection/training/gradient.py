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
from kreg.binding import bind
from kreg.binding.binding import PenaltyApplier
from kreg.selection.data.batches import batches_of, in_precision
from kreg.selection.data.order import begin_random_numbers
from kreg.selection.training.models import assign_values, values_of

_FEWEST, _MOST = 32, 4096
_NUMBERS = 2**24


def rows_at_once(model: keras.Model) -> int:
    """On how many rows a model is evaluated at once: from 32 to 4096.

    As many as all layers together need 64 MB for, to hold their outputs; 32
    where the shapes of the outputs are not known.
    """
    if getattr(model, "outputs", None) is None:
        return _FEWEST
    numbers = 0
    for layer in flatten_layers(model):
        # A model puts out what its last layer does.
        if isinstance(layer, keras.Model):
            continue
        for output in keras.tree.flatten(getattr(layer, "output", ())):
            if None in output.shape[1:]:
                return _FEWEST
            numbers += math.prod(output.shape[1:])
    return min(_MOST, max(_FEWEST, _NUMBERS // max(1, numbers)))


class GradientRecorder(PenaltyApplier, keras.optimizers.Optimizer):
    """Adds gradients up, and leaves weights alone.

    As an applier of penalties it gets the gradient of the data loss alone.
    """

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0, name="gradient_recorder")
        self.inner_optimizer = keras.optimizers.SGD(0.0)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the sums and the weight of a batch in them."""
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
        loss: the data loss when the gradient was last taken; NaN where a train
            step of the user's own does not tell.
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
        """The gradient now, an array for each trainable variable."""
        trained = {id(v) for v in self.model.trainable_variables}
        for total in self._recorder.sums:
            total.assign(ops.zeros(total.shape, total.dtype))
        loss, rows, first = 0.0, 0, 0
        for batch, size in batches_of(self._train, self._rows_at_once):
            # Each batch finds the same statistics and random seeds.
            for variable, value in zip(
                self.model.variables, self._state, strict=True
            ):
                if id(variable) not in trained:
                    variable.assign(value)
            begin_random_numbers(0)
            first = first or size
            self._recorder.batch_weight.assign(size / first)
            logs = self._step(batch, size)
            loss += size * float(logs.get("data_loss", math.nan))
            rows += size
        self.loss = loss / rows
        return [s * (first / rows) for s in values_of(self._recorder.sums)]

    def _step(self, batch: tuple[Any, ...], size: int) -> dict[str, Any]:
        """Make a train step; return what it tells."""
        model = self.model
        if type(model).train_step is keras.Model.train_step:
            return model.train_on_batch(*batch, return_dict=True)
        # `train_on_batch` hands over a `sample_weight` even if there is none,
        # but a train step of the user's own may take `x, y = data`. `fit`,
        # which takes longer, hands over what there is.
        parts = zip(("x", "y", "sample_weight"), batch, strict=False)
        told = model.fit(
            **dict(parts), batch_size=size, shuffle=False, verbose=0
        )
        return {name: values[-1] for name, values in told.history.items()}


@contextmanager
def data_gradient(model: keras.Model, train: Any) -> Iterator[DataGradient]:
    """The gradient function of a compiled model, which is left as it was."""
    bind(model)
    optimizer, state = model.optimizer, values_of(model.variables)
    trained_by = model.train_function
    replace_optimizer(model, GradientRecorder())
    model.train_function = None
    try:
        yield DataGradient(model, train)
    finally:
        replace_optimizer(model, optimizer)
        model.train_function = trained_by
        assign_values(model.variables, state)
