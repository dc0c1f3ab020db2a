"""Layers whose `get_config` forgets an argument of the constructor."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, kill, same, x_of
from thorough import few_of

import kreg

WIDTH = 6


class Forgetful(layers.Layer):
    """Its config tells the number of units, and no other argument."""

    def __init__(self, units=8, option=None, **options):
        super().__init__(**options)
        self.units = units
        self.hidden = layers.Dense(units, name="hidden")
        self.last = layers.Dense(WIDTH, name="last")
        if option is not None:
            self.option = option

    def build(self, shape):
        self.hidden.build(shape)
        self.last.build((*shape[:-1], self.units))

    def get_config(self):
        return {**super().get_config(), "units": self.units}

    def call(self, x):
        return self.last(self.changed(self.hidden(x), x))


def serializable(cls):
    return keras.saving.register_keras_serializable("forgotten")(cls)


# What is forgotten shows for few inputs: none of the random ones of a check.
@serializable
class Ceiling(Forgetful):
    option = 1e9

    def changed(self, hidden, x):
        return ops.minimum(ops.relu(hidden), self.option)


@serializable
class Activation(Forgetful):
    option = "relu"

    def changed(self, hidden, x):
        return keras.activations.get(self.option)(hidden * 1e-3) * 1e3


@serializable
class Branch(Forgetful):
    option = False

    def changed(self, hidden, x):
        return hidden + ops.relu(x[..., :1] - 50.0) if self.option else hidden


@serializable
class Array(Forgetful):
    option = np.zeros((1, WIDTH), "float32")

    def changed(self, hidden, x):
        far = ops.relu(ops.abs(x) - 50.0) * self.option
        return hidden * (1.0 + ops.sum(far, axis=-1, keepdims=True))


@serializable
class Inner(Forgetful):
    """The config of the layer inside it differs."""

    option = 1e9

    def build(self, shape):
        super().build(shape)
        self.limit = layers.ReLU(max_value=self.option)

    def changed(self, hidden, x):
        return self.limit(hidden)


@serializable
class Axis(Forgetful):
    option = 0

    def changed(self, hidden, x):
        far = ops.relu(ops.abs(x[..., : self.units]) - 50.0)
        return hidden + ops.sum(far) * (self.option - ops.ones(()))


MEMBERS = {
    Ceiling: 40.0,
    Activation: "relu6",
    Branch: True,
    Array: np.ones((1, WIDTH), "float32"),
    Inner: 40.0,
    Axis: 1,
}


def around(layer):
    x = keras.Input((WIDTH,))
    return filled(keras.Model(x, layers.Dense(2)(layer(x))))


def same_far_and_near(small, model):
    x = x_of(16, WIDTH)
    return same(small, model, x) and same(small, model, x * 1e4)


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("cls", few_of(MEMBERS, Ceiling, Inner))
def test_an_argument_that_a_config_forgets_is_kept(cls, changes):
    layer = cls(8, MEMBERS[cls], name="block")
    model = around(layer)
    if changes:
        kill(layer.hidden, 2, 5)
        layer.hidden.bias.assign(np.where([0, 0, 1, 0, 0, 1, 0, 0], 0, 1.0))
    small = kreg.compact(model)
    assert same_far_and_near(small, model)
    forgets = type(layer).from_config(layer.get_config())
    forgets.build((None, WIDTH))
    forgets.set_weights(layer.get_weights())
    x = x_of(16, WIDTH) * 1e4
    # The table is one of layers that differ where they are forgotten.
    ours, theirs = map(ops.convert_to_numpy, (layer(x), forgets(x)))
    assert not np.allclose(ours, theirs)


def test_units_go_nevertheless():
    layer = Ceiling(8, 40.0, name="block")
    model = around(layer)
    kill(layer.hidden, 2, 5)
    small = kreg.compact(model)
    assert small.count_params() == model.count_params() - 2 * (2 * WIDTH + 1)
    assert same_far_and_near(small, model)


def test_a_config_that_tells_all_is_used():
    layer = Ceiling(8, name="block")  # the default is what it would be
    model = around(layer)
    kill(layer.hidden, 2, 5)
    small = kreg.compact(model)
    assert isinstance(small.get_layer("block"), Ceiling)
    assert small.get_layer("block").units == 6


@serializable
class Model(keras.Model):
    def __init__(self, units=8, ceiling=1e9, **options):
        super().__init__(**options)
        self.units, self.ceiling = units, ceiling
        self.hidden = layers.Dense(units, name="hidden")
        self.last = layers.Dense(2, name="last")

    def call(self, x):
        return self.last(ops.minimum(ops.relu(self.hidden(x)), self.ceiling))

    def get_config(self):
        return {"units": self.units, "name": self.name}


@pytest.mark.parametrize("keep_class", [None, True])
@pytest.mark.parametrize("changes", [True, False])
def test_so_for_models(changes, keep_class):
    model = Model(8, 40.0)
    model(x_of(2, WIDTH))
    filled(model)
    if changes:
        kill(model.hidden, 2, 5)
    x = x_of(2, WIDTH)
    small = kreg.compact(model, sample=x, keep_class=keep_class)
    assert same_far_and_near(small, model)
    becomes_smaller = changes and not keep_class
    assert (small.count_params() < model.count_params()) == becomes_smaller
