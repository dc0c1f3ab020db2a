"""Dequantizes the weights that Keras has quantized."""

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
    packs two integers of four bits into one of eight. So norms cannot be
    computed from the integers alone, nor zeros counted if they are packed.

    Returns:
        A variable for each quantized weight, with its name, path and present
        values. Every call returns the same variables.
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

    They are those of `model.get_weights()`, except that quantized weights are
    dequantized.
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
