"""Which input features a model reads, and `input_lasso`, which drops some."""

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
    """Whether a model has at most one trainable kernel."""
    kernels = [
        variable
        for layer in flatten_layers(model)
        for variable in own_trainable_variables(layer)
        if variable.trainable and len(variable.shape) > 1
    ]
    return len({id(kernel) for kernel in kernels}) <= 1


def input_lasso(strength: float) -> GroupLasso:
    """The penalty that drops whole input features.

    It is `GroupLasso(strength, "inputs")`: the weights that leave an input
    become zero together. In a linear model with one output it equals `L1`.

    Args:
        strength: float >= 0.

    Example:

    >>> import kreg
    >>> kreg.selection.input_lasso(0.1)
    GroupLasso(strength=0.1, groups='inputs')
    """
    return GroupLasso(strength, "inputs")


# Layers whose every output entry depends only on the same input entry.
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

    None unless the model has a single flat input that only dense layers read,
    directly or through layers that act on each feature separately.
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
    """The indices of the features with a nonzero weight."""
    if not kernels:
        return None
    rows = [np.any(ops.convert_to_numpy(k) != 0.0, axis=1) for k in kernels]
    return tuple(int(i) for i in np.flatnonzero(np.any(rows, axis=0)))
