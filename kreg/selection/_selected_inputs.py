"""Which input features a model reads."""

import keras
import numpy as np
from keras import layers, ops

from kreg._keras_private import graph_of

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
