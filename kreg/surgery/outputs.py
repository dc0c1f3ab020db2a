"""The outputs of a model, and the largest difference of two outputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers, own_trainable_variables


def model_outputs(model: keras.Model, sample: Any) -> list[NDArray[Any]]:
    """The outputs of a model in inference, without a change of its state.

    They are flat, in the order of `keras.tree.flatten`.
    """
    with unchanged_state(model):
        outputs = keras.tree.flatten(model(sample, training=False))
        return [keras.ops.convert_to_numpy(output) for output in outputs]


def outputs_without_memory(
    model: keras.Model, sample: Any
) -> list[NDArray[Any]]:
    """`model_outputs`, where stateful recurrent layers start from zeros."""
    with unchanged_state(model):
        for layer in flatten_layers(model):
            for state in _memory(layer):
                state.assign(np.zeros(state.shape))
        return model_outputs(model, sample)


@contextmanager
def unchanged_state(model: keras.Model) -> Iterator[None]:
    """Restore, after the block, the state that calls of a model change.

    This is the state of random layers and of stateful recurrent layers, and on
    torch whether modules are in training.
    """
    layers = flatten_layers(model)
    weights = {id(v) for part in layers for v in own_trainable_variables(part)}
    variables = [
        *(v for v in model.non_trainable_variables if id(v) not in weights),
        *(v for part in layers for v in _memory(part)),
    ]
    state = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in variables]
    is_torch = keras.backend.backend() == "torch"
    modes = [(m, m.training) for m in model.modules()] if is_torch else []
    try:
        yield
    finally:
        for variable, value in state:
            variable.assign(value)
        for module, is_training in modes:
            module.training = is_training


def _memory(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The states that a recurrent layer hands on from batch to batch."""
    is_stateful = isinstance(layer, keras.layers.RNN) and layer.stateful
    return list(keras.tree.flatten(layer.states)) if is_stateful else []


def largest_difference(
    expected: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]]
) -> float:
    """The largest difference of two outputs, relative to their size.

    For each output it is `max |actual - expected| / max |expected|`, without
    the division if the expected output is all zero. The largest over all
    outputs is returned. It is infinite if shapes differ, or if an entry is not
    finite in only one of the two.
    """
    if [e.shape for e in expected] != [a.shape for a in actual]:
        return float("inf")
    return max(map(_difference, expected, actual), default=0.0)


def _difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    if expected.dtype.kind not in "biuf":
        return 0.0 if np.array_equal(expected, actual) else float("inf")
    a, b = expected.astype("float64"), actual.astype("float64")
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    a, b = a[finite], b[finite]
    if not np.all(np.isfinite(b)):
        return float("inf")
    largest = float(np.max(np.abs(b - a), initial=0.0))
    return largest / (float(np.max(np.abs(a), initial=0.0)) or 1.0)
