"""Reading the weights of a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg._keras_private import flatten_layers, own_trainable_variables
from kreg._types import Tensor
from kreg.binding._bound_penalty import is_suspended, own_regularizer
from kreg.binding._layouts import layout_of
from kreg.regularizers import Penalty
from kreg.regularizers._grouping import Grouping
from kreg.regularizers._layout import Layout
from kreg.regularizers._norms import summable
from kreg.statistics._paths import distinct_paths
from kreg.statistics._penalties import weight_penalty
from kreg.statistics._reading import Reading, WeightReading


def read(model: keras.Model) -> Reading:
    """Read norms, zeros, penalties and strengths of every weight of a model.

    Whatever regularizers it has: kreg's, Keras's, plain callables or none.
    Frozen weights are read too, with a penalty of 0; what is never trained,
    such as the moving mean of a BatchNormalization, is not.

    Args:
        model: a built `keras.Model`, compiled or not, bound or not. Strengths
            are those of `model.optimizer`'s iteration.

    Returns:
        A frozen `Reading`, with one `WeightReading` for each weight.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if it is not built.

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
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on data, or `build` it with an "
            f"input shape. Received: model={model!r}, which has no weights yet"
        )
    optimizer = getattr(model, "optimizer", None)
    step = 0
    if optimizer is not None:
        step = int(ops.convert_to_numpy(optimizer.iterations))
    rows = list(_rows(model))
    paths = distinct_paths(row.variable for row in rows)
    figures = [_figures(row, step) for row in rows]
    strengths = [_strengths(row.variable, step) for row in rows]
    floats = _transferred([f for f, _ in figures])
    counts = _transferred([c for _, c in figures])
    return Reading(
        step,
        tuple(
            _weight_reading(*row)
            for row in zip(rows, paths, strengths, floats, counts, strict=True)
        ),
    )


@dataclass(frozen=True)
class _Row:
    variable: keras.Variable
    layout: Layout

    @property
    def units(self) -> Grouping | None:
        """Of a kernel; a bias belongs to units but is none of their inputs."""
        return self.layout.units if self.layout.inputs else None

    @property
    def inputs(self) -> Grouping | None:
        return self.layout.inputs


def _rows(model: keras.Model) -> Iterator[_Row]:
    seen: set[int] = set()
    for layer in flatten_layers(model):
        for variable in own_trainable_variables(layer):
            if id(variable) not in seen:
                seen.add(id(variable))
                yield _Row(variable, layout_of(layer, variable))


def _figures(row: _Row, step: int) -> tuple[Tensor, Tensor]:
    """Penalty and norms, and counts, each as a small vector."""
    w = ops.convert_to_tensor(row.variable)
    zero = ops.equal(w, 0)
    counts = [ops.sum(ops.cast(zero, "int32"))]
    for groups in (row.units, row.inputs):
        counts.append(_dead(w, groups) if groups else ops.zeros((), "int32"))
    w = summable(w)
    size = ops.abs(w)
    norms = [
        ops.sum(size),
        ops.sqrt(ops.sum(ops.square(w))),
        ops.max(size) if _size(row.variable) else ops.zeros((), w.dtype),
    ]
    penalty = ops.zeros((), w.dtype)
    if row.variable.trainable and row.variable.regularizer is not None:
        penalty = ops.cast(
            weight_penalty(row.variable, row.layout, step), w.dtype
        )
    return ops.stack([penalty, *norms]), ops.stack(counts)


def _transferred(vectors: list[Tensor]) -> Any:
    """Vectors of equal length as the rows of a NumPy array."""
    if not vectors:
        return ()
    dtype = keras.backend.result_type(*(v.dtype for v in vectors))
    return ops.convert_to_numpy(
        ops.stack([ops.cast(v, dtype) for v in vectors])
    )


def _dead(w: Tensor, groups: Grouping) -> Tensor:
    """How many groups hold nothing but zeros."""
    alive = groups.largest(ops.abs(groups.grouped(w))) > 0
    return ops.sum(ops.cast(ops.logical_not(alive), "int32"))


def _strengths(variable: keras.Variable, step: int) -> dict[str, float]:
    regularizer = own_regularizer(variable)
    if isinstance(regularizer, Penalty):
        if is_suspended(variable):
            return dict.fromkeys(regularizer.strength_names(), 0.0)
        strengths = regularizer.strengths(step)
        return {
            name: float(ops.convert_to_numpy(value))
            for name, value in strengths.items()
        }
    if not isinstance(regularizer, keras.regularizers.Regularizer):
        return {}
    try:
        config = regularizer.get_config()
    except NotImplementedError:
        return {}
    return {
        name: value for name, value in config.items() if type(value) is float
    }


def _size(variable: keras.Variable) -> int:
    return int(np.prod(variable.shape, dtype=int))


def _weight_reading(
    row: _Row, path: str, strengths: dict[str, float], floats: Any, counts: Any
) -> WeightReading:
    variable = row.variable
    regularizer = own_regularizer(variable)
    layer, _, weight = path.rpartition("/")
    penalty, l1_norm, l2_norm, max_norm = map(float, floats)
    zeros, dead_units, dead_inputs = map(int, counts)
    return WeightReading(
        path=path,
        layer=layer,
        weight=weight,
        shape=tuple(variable.shape),
        size=_size(variable),
        trainable=bool(variable.trainable),
        regularizer=_name(regularizer),
        strengths=strengths,
        penalty=penalty,
        l1_norm=l1_norm,
        l2_norm=l2_norm,
        max_norm=max_norm,
        zeros=zeros,
        units=row.units.count if row.units else None,
        dead_units=dead_units if row.units else None,
        inputs=row.inputs.count if row.inputs else None,
        dead_inputs=dead_inputs if row.inputs else None,
    )


def _name(regularizer: Any) -> str | None:
    if regularizer is None:
        return None
    return getattr(regularizer, "__name__", type(regularizer).__name__)
