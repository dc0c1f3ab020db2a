"""`kreg.statistics.read`, and `Reader`, which keeps the compiled pass."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from kreg._arguments import (
    model_with_weights,
    nonnegative_number,
    real_number,
)
from kreg.binding.binding import update_counts, weight_optimizers
from kreg.binding.weight_optimizers import WeightOptimizers
from kreg.regularizers import Penalty
from kreg.statistics._penalties import weight_penalty
from kreg.statistics._ties_pass import MeasuredTie
from kreg.statistics._weights_pass import Measurements, WeightsPass
from kreg.statistics.figures import FIGURES, MeasuredWeight
from kreg.statistics.reading import LayerReading, Reading, WeightReading
from kreg.statistics.rows import Row, distinct_paths, keras_strengths, rows_of
from kreg.statistics.tie_reading import TieReading


class WeightsBefore:
    """Copies of weights before an update, to measure the update.

    Args:
        weights: the weights.
        optimizers: knows the optimizer of each.

    Attributes:
        copies: a variable for each weight.
        is_fresh: whether the copies were taken just before the last update. A
            reading that uses them sets this to False.
    """

    def __init__(
        self,
        weights: Sequence[keras.Variable],
        optimizers: WeightOptimizers,
    ) -> None:
        self._weights, self._optimizers = weights, optimizers
        self._updates: list[int | None] = []
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

    def are_copies_of(self, weights: Sequence[keras.Variable]) -> bool:
        """Whether these are copies of exactly `weights`."""
        pairs = zip(self._weights, weights, strict=False)
        return len(weights) == len(self._weights) and all(
            copied is weight for copied, weight in pairs
        )

    def take(self) -> None:
        """Copy the present weights."""
        self._copy()
        self._updates = update_counts(self._optimizers, self._weights)
        self.is_fresh = True

    def are_of_last_update(self) -> list[bool]:
        """For each weight, whether its copy is its value before an update.

        It is not if the weight has had no update since, as while gradients are
        accumulated.
        """
        if not self.is_fresh:
            return [False] * len(self._weights)
        updates = update_counts(self._optimizers, self._weights)
        return [
            before is None or before != now
            for before, now in zip(self._updates, updates, strict=True)
        ]

    def _copy_all(self) -> None:
        for copy, weight in zip(self.copies, self._weights, strict=True):
            copy.assign(_detached(weight))


def _detached(weight: keras.Variable) -> object:
    """A value of `weight` that a training step cannot overwrite."""
    value = ops.convert_to_tensor(weight)
    # On JAX the variable holds a reference to an array whose memory a training
    # step may reuse.
    return ops.copy(value) if keras.backend.backend() == "jax" else value


def _as_graph(function: Callable[[], None]) -> Callable[[], None]:
    if keras.backend.backend() == "tensorflow":
        from kreg.statistics import _tensorflow

        return _tensorflow.as_graph(function)
    return function


Guard = Callable[[str, str], AbstractContextManager[None]]
"""Makes a context manager, given what the block does and to which weight."""


def _unguarded(kind: str, of: str) -> AbstractContextManager[None]:
    return nullcontext()


class Reader:
    """Reads the weights of a model, and keeps the compiled pass.

    The pass is compiled anew when weights, regularizers or optimizers change.

    Args:
        threshold: the largest absolute value that counts as near zero.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._signature: Any = None
        self._pass: WeightsPass | None = None
        self._before: WeightsBefore | None = None
        self.has_read = False

    def weights_before(self, model: keras.Model) -> WeightsBefore:
        """The copies with which readings compare the weights from now on."""
        weights = [row.variable for row in rows_of(model)]
        if self._before is None or not self._before.are_copies_of(weights):
            self._before = WeightsBefore(weights, weight_optimizers(model))
        return self._before

    def __call__(
        self,
        model: keras.Model,
        *,
        compiled: bool,
        data_loss: float | None = None,
        guard: Guard = _unguarded,
    ) -> Reading:
        """Read the weights of `model`.

        Args:
            model: a model with weights.
            compiled: whether to compile the pass over the weights.
            data_loss: the loss without penalties, or None.
            guard: makes the context in which a regularizer other than kreg's
                is called. If it suppresses an error, the penalty is NaN.
        """
        rows = list(rows_of(model))
        before = self._before
        if before and not before.are_copies_of([row.variable for row in rows]):
            before = None
        has_before = [False] * len(rows)
        if before is not None:
            has_before = before.are_of_last_update()
            before.is_fresh = False
        copies = () if before is None else before.copies
        updates = weight_optimizers(model)
        optimizers = [updates.of(id(row.variable)) for row in rows]
        signature = [
            *map(_signature, rows, optimizers),
            *(id(copy) for copy in copies),
        ]
        if self._pass is None or signature != self._signature:
            self._signature = signature
            self._pass = WeightsPass(rows, optimizers, self._threshold, copies)
        step = int(ops.convert_to_numpy(updates.step()))
        self.has_read = True
        if not rows:
            return Reading(step, data_loss, (), ())
        iterations = {
            id(optimizer): int(ops.convert_to_numpy(optimizer.iterations))
            for optimizer in optimizers
            if optimizer is not None
        }
        steps = [iterations.get(id(o), step) for o in optimizers]
        measurements = self._pass(steps, repeated=compiled)
        penalties = [
            _penalty(row, measured, of_weight, guard)
            for row, measured, of_weight in zip(
                rows, measurements.measured, steps, strict=True
            )
        ]
        for tie in measurements.ties:
            tie.spread(measurements.measured, penalties)
        return _reading(
            rows,
            measurements,
            penalties,
            step,
            steps,
            data_loss,
            has_before=has_before,
        )


def _signature(row: Row, optimizer: keras.optimizers.Optimizer | None) -> Any:
    return (
        id(row.variable),
        id(row.regularizer),
        bool(row.variable.trainable),
        row.suspended,
        id(row.part),
        id(optimizer),
        optimizer is not None and optimizer.built,
    )


def _reading(
    rows: Sequence[Row],
    measurements: Measurements,
    penalties: Sequence[float],
    step: int,
    steps: Sequence[int],
    data_loss: float | None,
    *,
    has_before: Sequence[bool],
) -> Reading:
    loss = None if data_loss is None else data_loss + math.fsum(penalties)
    tied = dict(
        zip(
            (id(tie.tie) for tie in measurements.ties),
            distinct_paths(tie.tie for tie in measurements.ties),
            strict=True,
        )
    )
    unknown = {
        i
        for tie in measurements.ties
        for i in tie.acting
        if not tie.residuals and measurements.gradients[i] == "data"
    }
    weights = tuple(
        _weight(
            path,
            MeasuredWeight(
                row=row,
                measured=measured,
                penalty=penalty,
                loss=loss,
                has_before=has_before[i],
                gradient=gradient,
                has_residual=i not in unknown,
            ),
            strengths,
            of_weight,
            None if row.part is None else tied[id(row.part.tie)],
        )
        for i, (
            path,
            row,
            of_weight,
            measured,
            penalty,
            gradient,
            strengths,
        ) in enumerate(
            zip(
                distinct_paths(row.variable for row in rows),
                rows,
                steps,
                measurements.measured,
                penalties,
                measurements.gradients,
                measurements.strengths,
                strict=True,
            )
        )
    )
    by_layer: dict[int, list[WeightReading]] = {}
    for row, weight in zip(rows, weights, strict=True):
        by_layer.setdefault(row.layer, []).append(weight)
    layers = tuple(
        LayerReading(
            layer_weights[0].layer,
            tuple(layer_weights),
            {"dead_units": measurements.dead_units.get(layer, 0)},
        )
        for layer, layer_weights in by_layer.items()
    )
    ties = tuple(
        _tie(tied[id(tie.tie)], tie, [weights[i] for i in tie.members])
        for tie in measurements.ties
    )
    return Reading(step, data_loss, weights, layers, ties)


def _tie(
    path: str, tie: MeasuredTie, members: Sequence[WeightReading]
) -> TieReading:
    # A frozen weight has the strengths of its tie, which do not act on it.
    first = next((w for w in members if w.trainable), members[0])
    return TieReading(
        path=path,
        weights=tuple(weight.path for weight in members),
        regularizer=type(tie.tie.penalty).__name__,
        strengths=first.strengths,
        units=tie.tie.count,
        dead_units=tie.dead,
        size=sum(weight.size for weight in members),
        zeros=sum(weight.zeros for weight in members),
        l1_norm=math.fsum(weight.l1_norm for weight in members),
        l2_norm=math.hypot(*(weight.l2_norm for weight in members)),
        penalty=tie.penalty,
        step=first.step,
    )


def _weight(
    path: str,
    weight: MeasuredWeight,
    strengths: dict[str, float],
    step: int,
    tie: str | None,
) -> WeightReading:
    row = weight.row
    layer, _, name = path.rpartition("/")
    return WeightReading(
        path=path,
        layer=layer,
        weight=name,
        shape=row.shape,
        trainable=bool(row.variable.trainable),
        regularizer=_regularizer_name(row.regularizer),
        strengths=strengths or _config_strengths(row.regularizer),
        units=row.units.count if row.units else None,
        inputs=row.inputs.count if row.inputs else None,
        step=step,
        values={
            figure.name: figure.value(weight)
            for figure in FIGURES
            if figure.formula is None
        },
        tie=tie,
    )


def _penalty(
    row: Row, measured: Mapping[str, float], step: int, guard: Guard
) -> float:
    """The penalty of a weight.

    For kreg's penalties and Keras's norms it follows from the measurements of
    the pass; other regularizers are called.
    """
    if not row.is_penalized or row.part is not None:
        return 0.0
    regularizer = row.regularizer
    if isinstance(regularizer, Penalty):
        return measured["penalty"]
    norms = keras_strengths(regularizer)
    if norms:
        # The pass measures `l2_norm` as a sum of squares, without the root.
        return (
            norms.get("l1", 0.0) * measured["l1_norm"]
            + norms.get("l2", 0.0) * measured["l2_norm"]
        )
    with guard("evaluate the regularizer", row.variable.path):
        value = weight_penalty(row.variable, row.layout, step)
        return float(np.sum(ops.convert_to_numpy(value)))
    return math.nan


def _config_strengths(regularizer: Any) -> dict[str, float]:
    """The numbers in the config of a regularizer that is not kreg's."""
    if not isinstance(regularizer, keras.regularizers.Regularizer):
        return {}
    try:
        config = regularizer.get_config()
    except Exception:  # `get_config` may be a user's own
        return {}
    return {
        name: value for name, value in config.items() if type(value) is float
    }


def _regularizer_name(regularizer: Any) -> str | None:
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

    The weights may have any regularizers: kreg's, Keras's, plain callables or
    none. Frozen weights are read with a penalty of 0. Variables that are never
    trained, such as the moving mean of a BatchNormalization, are not read. Sums
    are taken in at least single precision. From the second reading of a model
    on, one compiled pass computes all figures.

    Some optimizers keep an average of gradients (SGD with momentum, Adam,
    AdamW, Nadam, Adamax). With these, the reading has the norm of the gradient
    and the optimality residual, which is 0 at a minimum of the data loss plus
    the penalties. Training has converged if the residual is small compared to
    the gradient's norm in early training; otherwise it has stopped too early.
    The residual does not include decoupled weight decay.

    Args:
        model: a `keras.Model` with weights, compiled or not, bound or not. The
            strengths of each weight are read at the iteration of the optimizer
            that updates it.
        data_loss: float, the loss without penalties, for the `penalty_share`
            of each weight. Defaults to `None`: `penalty_share` is None.
        threshold: float >= 0, the largest absolute value of an entry that
            counts as near zero. Defaults to `1e-3`.

    Returns:
        A frozen `Reading`, with one `LayerReading` for each layer and one
        `WeightReading` for each weight.

    Raises:
        TypeError: if `model` is not a `keras.Model`, or `data_loss` or
            `threshold` is not a number.
        ValueError: if the model has no weights yet, or `threshold` is negative.

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
        for the optimality residual, which it calls the gradient mapping.
    """
    model_with_weights(model)
    threshold = nonnegative_number("threshold", threshold)
    if data_loss is not None:
        data_loss = real_number("data_loss", data_loss)
    readers = _readers.setdefault(model, {})
    reader = readers.setdefault(threshold, Reader(threshold))
    return reader(model, compiled=reader.has_read, data_loss=data_loss)
