"""Weights that are broadcast, tables shorter than what is tried, no entries."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, same, x_of

import kreg


class Positions(keras.Layer):
    """Adds a table of positions."""

    def build(self, shape):
        self.table = self.add_weight(shape=(4, shape[-1]), name="table")

    def call(self, x):
        return x + ops.broadcast_to(self.table, ops.shape(x))


class FirstPositions(Positions):
    """Adds as many rows of the table as there are."""

    def call(self, x):
        table = ops.slice(self.table, (0, 0), (ops.shape(x)[1], x.shape[2]))
        return x + table


class EmptyPart(keras.Layer):
    """Changes the first channels, which are all of them."""

    def call(self, x):
        size = x.shape[-1]
        return ops.concatenate([ops.tanh(x[..., :size]), x[..., size:]], -1)


@pytest.mark.parametrize("kind", [Positions, FirstPositions, EmptyPart])
@pytest.mark.parametrize("length", [4, None])
def test_units_behind_them_go(kind, length):
    if length is None and kind is Positions:
        pytest.skip("its table has one length")
    if length is None and keras.backend.backend() == "torch":
        pytest.skip("Keras needs the length there")
    if kind is FirstPositions and keras.backend.backend() == "jax":
        pytest.skip("Keras takes no part of a variable there")
    inputs = keras.Input((length, 6))
    x = kind(name="own")(inputs)
    x = layers.Dense(8, "relu", name="hidden")(x)
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    hidden = model.get_layer("hidden")
    kernel, bias = hidden.get_weights()
    hidden.set_weights([kernel * (np.arange(8) > 2), bias])
    small = kreg.compact(model)
    assert small.get_layer("hidden").units == 5
    assert same(small, model, x_of(5, 4, 6))
