"""Reading the weights of a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg._keras_private import flatten_layers, own_trainable_variables
from kreg._types import Tensor
from kreg.binding._bound_penalty import (
    governing_step,
    is_suspended,
    own_regularizer,
)
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
    dead = [(_dead(row, row.units), _dead(row, row.inputs)) for row in rows]
    figures = [
        (_norms(row, step), _counts(row, units, inputs))
        for row, (units, inputs) in zip(rows, dead, strict=True)
    ]
    strengths = [_strengths(row.variable, step) for row in rows]
    floats = _transferred([f for f, _ in figures])
    counts = _transferred([c for _, c in figures])
    dead_units = _transferred(
        _dead_in_all_kernels(rows, [units for units, _ in dead])
    )
    return Reading(
        step,
        int(np.sum(dead_units)),
        tuple(
            _weight_reading(*row)
            for row in zip(rows, paths, strengths, floats, counts, strict=True)
        ),
    )


@dataclass(frozen=True)
class _Row:
    variable: keras.Variable
    layer: keras.layers.Layer
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
                yield _Row(variable, layer, layout_of(layer, variable))


def _norms(row: _Row, step: int) -> Tensor:
    """Penalty and norms, as a small vector."""
    w = summable(row.variable)
    size = ops.abs(w)
    penalty = ops.zeros((), w.dtype)
    if row.variable.trainable and row.variable.regularizer is not None:
        value = weight_penalty(row.variable, row.layout, step)
        penalty = ops.sum(ops.cast(value, w.dtype))
    return ops.stack(
        [
            penalty,
            ops.sum(size),
            ops.sqrt(ops.sum(ops.square(w))),
            ops.max(size) if _size(row.variable) else ops.zeros((), w.dtype),
        ]
    )


def _counts(row: _Row, units: Tensor | None, inputs: Tensor | None) -> Tensor:
    """How many entries, units and inputs are zero, as a small vector."""
    zero = ops.equal(ops.convert_to_tensor(row.variable), 0)
    return ops.stack(
        [
            _count(zero),
            *(
                ops.zeros((), "int32") if dead is None else _count(dead)
                for dead in (units, inputs)
            ),
        ]
    )


def _count(mask: Tensor) -> Tensor:
    return ops.sum(ops.cast(mask, "int32"))


def _dead(row: _Row, groups: Grouping | None) -> Tensor | None:
    """Which groups of a weight hold nothing but zeros; None without groups."""
    if groups is None:
        return None
    w = groups.grouped(ops.convert_to_tensor(row.variable))
    alive = groups.total(ops.cast(ops.not_equal(w, 0), "int32"))
    return ops.reshape(ops.equal(alive, 0), (-1,))


def _dead_in_all_kernels(
    rows: list[_Row], masks: list[Tensor | None]
) -> list[Tensor]:
    """How many units of each layer no kernel of it feeds.

    A recurrent cell has two kernels for the same units; depthwise and pointwise
    kernels feed different ones.
    """
    dead: dict[tuple[int, int], Tensor] = {}
    for row, mask in zip(rows, masks, strict=True):
        if mask is not None:
            key = (id(row.layer), int(mask.shape[0]))
            before = dead.get(key, mask)
            dead[key] = ops.logical_and(before, mask)
    return [_count(mask) for mask in dead.values()]


def _transferred(vectors: list[Tensor]) -> Any:
    """Vectors of equal length as the rows of a NumPy array."""
    if not vectors:
        return ()
    dtype = keras.backend.result_type(*(v.dtype for v in vectors))
    return ops.convert_to_numpy(
        ops.stack([ops.cast(v, dtype) for v in vectors])
    )


def _strengths(variable: keras.Variable, step: int) -> dict[str, float]:
    regularizer = own_regularizer(variable)
    if isinstance(regularizer, Penalty):
        if is_suspended(variable):
            return dict.fromkeys(regularizer.strength_names(), 0.0)
        strengths = regularizer.strengths(governing_step(variable, step))
        return {
            name: float(ops.convert_to_numpy(value))
            for name, value in strengths.items()
        }
    if not isinstance(regularizer, keras.regularizers.Regularizer):
        return {}
    try:
        config = regularizer.get_config()
    except Exception:  # of a class that is not ours
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
