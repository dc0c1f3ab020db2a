"""Reading the weights of a model, once or again and again."""

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from kreg._arguments import built_model, nonnegative_number, real_number
from kreg.regularizers import Penalty
from kreg.statistics._penalties import weight_penalty
from kreg.statistics._weights_pass import Figures, WeightsPass
from kreg.statistics.reading import LayerReading, Reading, WeightReading, ratio
from kreg.statistics.rows import Row, distinct_paths, keras_strengths, rows_of


class WeightsBefore:
    """Copies of weights, taken before an update to see how far it goes.

    Args:
        weights: the weights.

    Attributes:
        copies: a variable for each weight.
        is_fresh: whether they were taken before the last update; for the
            reader of the copies to reset.
    """

    def __init__(self, weights: Sequence[keras.Variable]) -> None:
        self._weights = weights
        self.copies = [
            keras.Variable(
                ops.zeros(weight.shape, weight.dtype),
                trainable=False,
                dtype=weight.dtype,
                name="kreg_before",
            )
            for weight in weights
        ]
        self._copy = _as_graph(self._copy_all)
        self.is_fresh = False

    def are_of(self, weights: Sequence[keras.Variable]) -> bool:
        """Whether these are copies of exactly `weights`."""
        pairs = zip(self._weights, weights, strict=False)
        return len(weights) == len(self._weights) and all(
            own is other for own, other in pairs
        )

    def take(self) -> None:
        """Copy the weights as they are now."""
        self._copy()
        self.is_fresh = True

    def _copy_all(self) -> None:
        for copy, weight in zip(self.copies, self._weights, strict=True):
            copy.assign(_own(weight))


def _own(weight: keras.Variable) -> object:
    """The value, where that is not copied by assigning it."""
    value = ops.convert_to_tensor(weight)
    # JAX assigns by reference, to an array that a training step may reuse.
    return ops.copy(value) if keras.backend.backend() == "jax" else value


def _as_graph(function: Callable[[], None]) -> Callable[[], None]:
    if keras.backend.backend() == "tensorflow":
        from kreg.statistics import _tensorflow

        return _tensorflow.as_graph(function)
    return function


class Reader:
    """Keeps the pass over a model's weights, as long as it stays the same.

    Args:
        threshold: the largest size that counts as near zero.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._signature: Any = None
        self._pass: WeightsPass | None = None
        self._before: WeightsBefore | None = None
        self.has_read = False

    def weights_before(self, model: keras.Model) -> WeightsBefore:
        """What readings of `model` compare its weights with from now on."""
        weights = [row.variable for row in rows_of(model)]
        if self._before is None or not self._before.are_of(weights):
            self._before = WeightsBefore(weights)
        return self._before

    def __call__(
        self,
        model: keras.Model,
        *,
        compiled: bool,
        data_loss: float | None = None,
    ) -> Reading:
        """Read the weights of `model`.

        Args:
            model: a built model.
            compiled: whether to compile the pass over the weights.
            data_loss: the loss without penalties, if it is known.
        """
        rows = list(rows_of(model))
        before = self._before
        if before and not before.are_of([row.variable for row in rows]):
            before = None
        moved = before is not None and before.is_fresh
        if before is not None:
            before.is_fresh = False
        copies = () if before is None else before.copies
        optimizer = getattr(model, "optimizer", None)
        signature = [_signature(row) for row in rows]
        signature += [id(optimizer), optimizer is not None and optimizer.built]
        signature += [id(copy) for copy in copies]
        if self._pass is None or signature != self._signature:
            self._signature = signature
            self._pass = WeightsPass(rows, optimizer, self._threshold, copies)
        step = 0
        if optimizer is not None:
            step = int(ops.convert_to_numpy(optimizer.iterations))
        self.has_read = True
        if not rows:
            return Reading(step, data_loss, (), ())
        figures = self._pass(step, repeated=compiled)
        return _reading(rows, figures, step, data_loss, moved)


def _signature(row: Row) -> Any:
    trainable = bool(row.variable.trainable)
    return id(row.variable), id(row.regularizer), trainable, row.suspended


def _reading(
    rows: Sequence[Row],
    figures: Figures,
    step: int,
    data_loss: float | None,
    moved: bool,
) -> Reading:
    penalties = [
        _penalty(row, floats, step)
        for row, floats in zip(rows, figures.floats.tolist(), strict=True)
    ]
    loss = None if data_loss is None else data_loss + math.fsum(penalties)
    paths = distinct_paths(row.variable for row in rows)
    weights = tuple(
        _weight(row, paths[i], figures, i, moved, penalties[i], loss)
        for i, row in enumerate(rows)
    )
    layers: dict[int, list[WeightReading]] = {}
    for row, weight in zip(rows, weights, strict=True):
        layers.setdefault(row.layer, []).append(weight)
    return Reading(
        step,
        data_loss,
        weights,
        tuple(
            LayerReading(
                own[0].layer, tuple(own), figures.dead_units.get(layer, 0)
            )
            for layer, own in layers.items()
        ),
    )


def _weight(
    row: Row,
    path: str,
    figures: Figures,
    i: int,
    moved: bool,
    penalty: float,
    loss: float | None,
) -> WeightReading:
    _, l1_norm, squares, largest, move, gradient, residual = figures.floats[
        i
    ].tolist()
    zeros, near_zeros, dead_inputs, dead_units = figures.counts[i].tolist()
    layer, _, weight = path.rpartition("/")
    l2_norm = math.sqrt(squares)
    known = figures.gradients[i]
    return WeightReading(
        path=path,
        layer=layer,
        weight=weight,
        shape=row.shape,
        size=row.size,
        trainable=bool(row.variable.trainable),
        regularizer=_name(row.regularizer),
        strengths=figures.strengths[i] or _named_in_config(row.regularizer),
        penalty=penalty,
        penalty_share=None if loss is None else ratio(penalty, loss),
        l1_norm=l1_norm,
        l2_norm=l2_norm,
        max_norm=largest,
        zeros=zeros,
        near_zeros=near_zeros,
        units=row.units.count if row.units else None,
        dead_units=dead_units if row.units else None,
        inputs=row.inputs.count if row.inputs else None,
        dead_inputs=dead_inputs if row.inputs else None,
        update_ratio=ratio(math.sqrt(move), l2_norm) if moved else None,
        gradient_norm=math.sqrt(gradient) if known == "data" else None,
        optimality=math.sqrt(residual) if known else None,
    )


def _penalty(row: Row, floats: Sequence[float], step: int) -> float:
    """From the pass where that can tell, else from the regularizer itself."""
    if not row.is_penalized:
        return 0.0
    penalty, l1_norm, squares, *_ = floats
    regularizer = row.regularizer
    if isinstance(regularizer, Penalty):
        return penalty
    norms = keras_strengths(regularizer)
    if norms:
        return norms.get("l1", 0.0) * l1_norm + norms.get("l2", 0.0) * squares
    value = weight_penalty(row.variable, row.layout, step)
    return float(np.sum(ops.convert_to_numpy(value)))


def _named_in_config(regularizer: Any) -> dict[str, float]:
    """The numbers in the config of a regularizer that is not kreg's."""
    if not isinstance(regularizer, keras.regularizers.Regularizer):
        return {}
    try:
        config = regularizer.get_config()
    except Exception:  # of a class that is not ours
        return {}
    return {
        name: value for name, value in config.items() if type(value) is float
    }


def _name(regularizer: Any) -> str | None:
    if regularizer is None:
        return None
    return getattr(regularizer, "__name__", type(regularizer).__name__)


_readers: WeakKeyDictionary[keras.Model, dict[float, Reader]] = (
    WeakKeyDictionary()
)


def read(
    model: keras.Model,
    *,
    data_loss: float | None = None,
    threshold: float = 1e-3,
) -> Reading:
    """Read norms, zeros, penalties and strengths of every weight of a model.

    Whatever regularizers it has: kreg's, Keras's, plain callables or none.
    Frozen weights are read too, with a penalty of 0; what is never trained,
    such as the moving mean of a BatchNormalization, is not. Sums are taken in
    at least single precision. From the second reading of a model on, one
    compiled pass computes all figures.

    Where the optimizer keeps an average of gradients (SGD with momentum, Adam,
    AdamW, Nadam, Adamax), the reading tells the norm of the gradient and the
    optimality residual, which is 0 at a minimum of the data loss plus the
    penalties: small beside the gradient's norm in early training, it says
    "converged", otherwise "stopped early". Decoupled weight decay is not in it.

    Args:
        model: a built `keras.Model`, compiled or not, bound or not. Strengths
            are those of `model.optimizer`'s iteration.
        data_loss: float, the loss without penalties, from which shares of the
            loss are computed. Defaults to `None`: shares are None too.
        threshold: float >= 0, the largest size of an entry that counts as near
            zero. Defaults to `1e-3`.

    Returns:
        A frozen `Reading`, with one `LayerReading` for each layer and one
        `WeightReading` for each weight.

    Raises:
        TypeError: if `model` is not a `keras.Model`, or a number none.
        ValueError: if it is not built, or `threshold` is negative.

    Example:

    >>> import keras, kreg, numpy
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2,
    ...     kernel_regularizer=kreg.L1(0.5), name="hidden")], name="net")
    >>> w = numpy.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
    >>> model.set_weights([w, numpy.ones(2)])
    >>> kernel, bias = kreg.statistics.read(model).weights
    >>> kernel.path, kernel.strengths, kernel.penalty, kernel.zeros
    ('net/hidden/kernel', {'l1': 0.5}, 1.5, 4)
    >>> kernel.dead_units, kernel.units, kernel.dead_inputs, kernel.inputs
    (1, 2, 1, 3)

    References:
        Beck, "First-Order Methods in Optimization", SIAM 2017, section 10.3,
        for the optimality residual, there the gradient mapping.
    """
    built_model(model)
    threshold = nonnegative_number("threshold", threshold)
    if data_loss is not None:
        data_loss = real_number("data_loss", data_loss)
    readers = _readers.setdefault(model, {})
    reader = readers.setdefault(threshold, Reader(threshold))
    return reader(model, compiled=reader.has_read, data_loss=data_loss)
