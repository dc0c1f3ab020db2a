"""Whether a model is linear in the one kernel that it has."""

import keras

from kreg._keras_private import flatten_layers, own_trainable_variables


def is_linear(model: keras.Model) -> bool:
    """Whether one kernel alone stands between inputs and outputs."""
    kernels = [
        variable
        for layer in flatten_layers(model)
        for variable in own_trainable_variables(layer)
        if variable.trainable and len(variable.shape) > 1
    ]
    return len({id(kernel) for kernel in kernels}) <= 1
