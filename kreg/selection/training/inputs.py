"""Which input features a model reads, and the penalty that leaves some out."""

import keras
import numpy as np
from keras import layers, ops

from kreg._keras_private import (
    flatten_layers,
    graph_of,
    own_trainable_variables,
)
from kreg.regularizers import GroupLasso


def is_linear(model: keras.Model) -> bool:
    """Whether one kernel alone stands between inputs and outputs."""
    kernels = [
        variable
        for layer in flatten_layers(model)
        for variable in own_trainable_variables(layer)
        if variable.trainable and len(variable.shape) > 1
    ]
    return len({id(kernel) for kernel in kernels}) <= 1


def input_lasso(strength: float) -> GroupLasso:
    """The penalty that leaves out input features as a whole.

    `GroupLasso(strength, "inputs")`: what leaves an input is zero together. In
    a linear model with one output it is `L1`.

    Args:
        strength: float >= 0.

    Example:

    >>> import kreg
    >>> kreg.selection.input_lasso(0.1)
    GroupLasso(strength=0.1, groups='inputs')
    """
    return GroupLasso(strength, "inputs")


# Each entry of their output depends on the same entry of their input alone.
_ENTRYWISE = (
    layers.InputLayer,
    layers.Normalization,
    layers.BatchNormalization,
    layers.Rescaling,
    layers.Dropout,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.ActivityRegularization,
    layers.Identity,
)


def first_kernels(model: keras.Model) -> list[keras.Variable] | None:
    """The kernels that read the input features, a row for each feature.

    None where the model has not one flat input that dense layers alone read,
    at most through layers that treat every feature on its own.
    """
    graph = graph_of(model)
    if graph is None or len(graph.inputs) != 1:
        return None
    (entrance,) = graph.inputs
    if len(entrance.shape) != 2 or entrance.shape[1] is None:
        return None
    features = {id(entrance)}
    kernels = []
    for node in graph.nodes:
        inputs = [id(tensor) for tensor in node.input_tensors]
        if not features.intersection(inputs):
            continue
        if isinstance(node.operation, layers.Dense):
            kernels.append(node.operation.kernel)
        elif isinstance(node.operation, _ENTRYWISE):
            features.update(id(tensor) for tensor in node.output_tensors)
        else:
            return None
    if any(id(tensor) in features for tensor in graph.outputs):
        return None
    return kernels


def selected_inputs(
    kernels: list[keras.Variable] | None,
) -> tuple[int, ...] | None:
    """The indices of the features with a weight that is not zero."""
    if not kernels:
        return None
    rows = [np.any(ops.convert_to_numpy(k) != 0.0, axis=1) for k in kernels]
    return tuple(int(i) for i in np.flatnonzero(np.any(rows, axis=0)))
