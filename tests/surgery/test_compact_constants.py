"""Own attention layers that call layers inside them on constants.

The code of such a layer has reshapes, whose sizes depend on the heads. They
are found by their order, in which no operation of the called layers counts.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled
from surgery.random_weights import largest_difference, outputs
from thorough import few_of

import kreg

# Keras computes in single precision on JAX, and partly on torch.
DTYPE, BOUND = (
    ("float64", 1e-12)
    if keras.backend.backend() == "tensorflow"
    else ("float32", 1e-5)
)
LENGTH, SIZE, HEADS, WIDTH = 5, 8, 4, 2
ONE_HEAD = 4 * SIZE * WIDTH + 3 * WIDTH  # with the biases of three layers
X = np.random.default_rng(0).normal(size=(3, LENGTH, SIZE)).astype(DTYPE)
PLACES = np.arange(LENGTH, dtype="int32")
WAVES = np.sin(np.outer(PLACES, np.arange(SIZE))).astype(DTYPE)


class Attention(layers.Layer):
    """Attention with a part that is called on constants."""

    def build(self, shape):
        self.query, self.key, self.value, self.out = (
            layers.Dense(SIZE, dtype=self.dtype_policy) for _ in range(4)
        )
        for dense in (self.query, self.key, self.value, self.out):
            dense.build(shape)
        self.part = self.make_part()

    def made(self, layer, shape=None):
        layer.dtype_policy = self.dtype_policy
        layer.build(shape)
        return layer

    def make_part(self):
        """The layer that is called on constants."""

    def with_constants(self, x):
        """The inputs and what is computed from constants."""
        return x

    def bias(self):
        """What is added to the scores."""
        return 0.0

    def heads(self, x):
        x = ops.reshape(x, (-1, LENGTH, HEADS, x.shape[-1] // HEADS))
        return ops.transpose(x, (0, 2, 1, 3))

    def call(self, x):
        x = self.with_constants(x)
        query, key = self.heads(self.query(x)), self.heads(self.key(x))
        scores = query @ ops.swapaxes(key, -1, -2) + self.bias()
        y = ops.softmax(scores) @ self.heads(self.value(x))
        y = ops.transpose(y, (0, 2, 1, 3))
        return self.out(ops.reshape(y, (-1, LENGTH, SIZE)))


class Positions(Attention):
    def make_part(self):
        return self.made(layers.Embedding(LENGTH, SIZE))

    def with_constants(self, x):
        return x + self.part(PLACES)


class PositionsInARow(Positions):
    def with_constants(self, x):
        rows = ops.expand_dims(self.part(PLACES), 0)
        return x + ops.concatenate([rows[:, 1:], rows[:, :1]], axis=1)


class BiasTable(Attention):
    """A bias of each head for each distance."""

    def make_part(self):
        return self.made(layers.Embedding(2 * LENGTH - 1, HEADS))

    def bias(self):
        table = self.part(PLACES[:, None] - PLACES + LENGTH - 1)
        return ops.transpose(table, (2, 0, 1))


class ProjectedWaves(Attention):
    def make_part(self):
        return self.made(layers.Dense(SIZE, "tanh"), (LENGTH, SIZE))

    def with_constants(self, x):
        return x + self.part(WAVES)


class NormalizedWaves(Attention):
    def make_part(self):
        return self.made(layers.LayerNormalization(), (LENGTH, SIZE))

    def with_constants(self, x):
        return x + ops.expand_dims(self.part(WAVES), 0)


class ScaledWaves(Attention):
    """A layer without weights, on whose outputs operations run."""

    def make_part(self):
        return layers.Rescaling(0.5, dtype=self.dtype_policy)

    def with_constants(self, x):
        return x + ops.expand_dims(ops.tanh(self.part(WAVES)), 0)


class DroppedWaves(ScaledWaves):
    def make_part(self):
        return layers.Dropout(0.5, seed=1, dtype=self.dtype_policy)


class Shift(layers.Layer):
    """A layer of one's own with operations and a table."""

    def build(self, shape=None):
        self.table = layers.Embedding(LENGTH, SIZE, dtype=self.dtype_policy)
        self.table.build()

    def call(self, waves):
        rows = self.table(PLACES)
        return ops.tanh(ops.reshape(waves, (-1, LENGTH, SIZE)) + rows)


class OwnPart(Attention):
    """An own layer, on constants first and then on the inputs."""

    def make_part(self):
        return self.made(Shift())

    def with_constants(self, x):
        return self.part(x) + self.part(WAVES)


KINDS = {
    kind.__name__: kind
    for kind in (
        *(Attention, Positions, PositionsInARow, BiasTable, ProjectedWaves),
        *(NormalizedWaves, ScaledWaves, DroppedWaves, OwnPart),
    )
}


def without_one_head(name):
    """A model in which all weights of a head are zero."""
    x = keras.Input((LENGTH, SIZE), dtype=DTYPE)
    layer = KINDS[name](dtype=DTYPE)
    model = filled(keras.Model(x, layer(x)))
    units = slice(WIDTH, 2 * WIDTH)
    for dense in (layer.query, layer.key, layer.value):
        kernel, bias = dense.get_weights()
        kernel[:, units], bias[units] = 0.0, 0.0
        dense.set_weights([kernel, bias])
    kernel, bias = layer.out.get_weights()
    kernel[units] = 0.0
    layer.out.set_weights([kernel, bias])
    return model


@pytest.mark.parametrize(
    "name", few_of(KINDS, "Positions", "BiasTable", "ScaledWaves", "OwnPart")
)
def test_a_head_goes_beside_a_layer_that_is_called_on_constants(name):
    if name == "OwnPart" and keras.backend.backend() == "jax":
        pytest.skip("an array of JAX cannot be added to a symbolic tensor")
    model = without_one_head(name)
    small = kreg.compact(model)
    rows = 2 * LENGTH - 1 if name == "BiasTable" else 0
    assert model.count_params() - small.count_params() == ONE_HEAD + rows
    assert largest_difference(outputs(small, X), outputs(model, X)) < BOUND


def test_dropout_of_constants_still_drops_in_training():
    small = kreg.compact(without_one_head("DroppedWaves"))
    drawn = [keras.ops.convert_to_numpy(small(X, training=True))]
    drawn.append(keras.ops.convert_to_numpy(small(X, training=True)))
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3
