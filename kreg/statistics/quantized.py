"""The weights that Keras has quantized, as the numbers they stand for."""

from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._keras_private import (
    dequantized,
    flatten_layers,
    own_variables,
    with_path,
)

_copies: WeakKeyDictionary[keras.layers.Layer, dict[int, keras.Variable]] = (
    WeakKeyDictionary()
)


def dequantized_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Copies of the quantized weights of `layer`, in single precision.

    Keras stores such a weight as integers, with scales in other variables, and
    packs two integers of four bits into one of eight. The integers alone tell
    neither its norms nor, packed, its zeros.

    Returns:
        A variable for each quantized weight, with its name and path, and with
        the values that it has now. It is the same variable in every call.
    """
    copies: dict[int, keras.Variable] = {}
    for variable in own_variables(layer):
        value = dequantized(layer, variable)
        if value is None:
            continue
        copy = _copies.get(layer, {}).get(id(variable))
        if copy is None:
            copy = with_path(
                keras.Variable(value, trainable=False, name=variable.name),
                variable.path,
            )
        else:
            copy.assign(value)
        copies[id(variable)] = copy
    if copies:
        _copies[layer] = copies
    return list(copies.values())


def unpacked_weights(model: keras.Model) -> list[NDArray[Any]]:
    """All weights of `model` as arrays, with one number for each parameter.

    They are those of `model.get_weights()`, but for weights that Keras has
    quantized: these are the numbers they stand for.
    """
    values = {
        id(variable): dequantized(layer, variable)
        for layer in flatten_layers(model)
        for variable in own_variables(layer)
    }
    return [
        np.asarray(
            ops.convert_to_numpy(
                variable
                if values.get(id(variable)) is None
                else values[id(variable)]
            )
        )
        for variable in model.weights
    ]
