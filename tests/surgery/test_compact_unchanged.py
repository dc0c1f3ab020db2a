"""Layers and models in which nothing changes stay what they are."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, kill, units, x_of
from surgery.random_weights import largest_difference, outputs
from thorough import few_of

import kreg


class WithoutConfig(layers.Layer):
    """A layer that cannot be made anew from a config."""

    def __init__(self, held):
        super().__init__()
        self.held = held
        self.inner = [layers.Dense(5)]

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.inner[0].build(shape)

    def call(self, x):
        return self.inner[0](x) * self.scale


class FaultyConfig(layers.Layer):
    """A layer whose `get_config` raises."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x):
        return x * self.scale

    def get_config(self):
        raise AttributeError("missing")


class IncompleteConfig(layers.Layer):
    """A layer whose config forgets an argument."""

    def __init__(self, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def build(self, shape):
        self.scale = self.add_weight(
            shape=(shape[-1],), initializer="ones", name="scale"
        )

    def call(self, x):
        return (x * self.scale) ** self.power

    def get_config(self):
        return {"name": self.name}


class OutOfSight(layers.Layer):
    """The same, where neither the code nor an attribute shows it."""

    def __init__(self, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self._power = power

    def call(self, x):
        return x if ops.max(x) > 1e9 else x**self._power

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self):
        return {"name": self.name}


def with_lora(x):
    attention = layers.MultiHeadAttention(2, 3)
    y = attention(x, x)
    attention._query_dense.enable_lora(2)
    return y


def quantized(x):
    layer = layers.Dense(7)
    y = layer(x)
    layer.quantize("int8")
    return y


def adapted(x):
    layer = layers.Normalization()
    layer.adapt(x_of(20, 5))
    return layer(x)


MIDDLES = {
    "without_config": lambda x: WithoutConfig(object())(x),
    "faulty_config": lambda x: FaultyConfig()(x),
    "incomplete_config": lambda x: IncompleteConfig(power=3.0)(x),
    "out_of_sight": lambda x: OutOfSight(power=3.0)(x),
    "lora": with_lora,
    "int8": quantized,
    "lambda": lambda x: layers.Lambda(lambda t: ops.sin(t))(x),
    "wrapped": layers.TimeDistributed(layers.Dense(3)),
    "adapted": adapted,
}


def model_around(middle):
    """A model with a layer that can lose units, behind one that stays."""
    x = keras.Input((4, 5))
    y = layers.Dense(8, "relu", name="hidden")(MIDDLES[middle](x))
    return keras.Model(x, layers.Dense(2)(y))


@pytest.mark.slow
@pytest.mark.parametrize(
    "middle",
    few_of(MIDDLES, "without_config", "incomplete_config", "lora", "int8"),
)
def test_what_stays_is_copied_whatever_its_config(middle):
    model = model_around(middle)
    kill(model.get_layer("hidden"), 0, 1, 2)
    x = x_of(3, 4, 5)
    expected = outputs(model, x)
    small = kreg.compact(model)
    assert units(small, "hidden") == 5
    assert largest_difference(outputs(small, x), expected) < 1e-6
    for variable in small.weights:
        variable.assign(np.zeros(variable.shape))
    assert largest_difference(outputs(model, x), expected) == 0


class Named(keras.Model):
    """A functional model with a class and a method of its own."""

    def __init__(self, hidden=8, name=None):
        x = keras.Input((5,))
        y = layers.Dense(hidden, "relu", name="hidden")(x)
        super().__init__(x, layers.Dense(2)(y), name=name)
        self.hidden = hidden

    def get_config(self):
        return {"hidden": self.hidden, "name": self.name}

    def answer(self):
        return 42


def test_a_model_in_which_nothing_changes_keeps_its_class():
    model = Named()
    small, record = kreg.compact(model, return_compaction=True)
    assert small.answer() == 42
    assert record.kind_before == record.kind_after == "Named"
    x = x_of(3, 5)
    assert largest_difference(outputs(small, x), outputs(model, x)) == 0
    assert not {id(v) for v in small.weights} & {id(v) for v in model.weights}


def test_a_model_with_a_size_in_its_config_keeps_its_class():
    model = Named()
    kill(model.get_layer("hidden"), 1, 5)
    small, record = kreg.compact(model, return_compaction=True)
    assert small.answer() == 42
    assert small.hidden == units(small, "hidden") == 6
    assert {row.way for row in record.layers} == {"config of the model"}
    x = x_of(3, 5)
    assert largest_difference(outputs(small, x), outputs(model, x)) < 1e-6


class Stuck(Named):
    """One without a size in its config."""

    def __init__(self, name=None):
        super().__init__(8, name)

    def get_config(self):
        return {"name": self.name}


def test_a_model_without_a_fitting_config_loses_its_class_and_says_so():
    model = Stuck()
    kill(model.get_layer("hidden"), 1, 5)
    small, record = kreg.compact(model, return_compaction=True)
    assert type(small).__name__ == record.kind_after == "Functional"
    assert "The model was a Stuck, and is a Functional now." in str(record)
    assert units(small, "hidden") == 6


def test_what_was_given_up_is_in_the_record():
    model = model_around("out_of_sight")
    kill(model.get_layer("hidden"), 0)
    _, record = kreg.compact(model, return_compaction=True)
    note, *_ = record.notes
    assert "differ" in note
    assert note in str(record)


def test_the_inside_of_a_layer_takes_its_place_if_its_config_forgets():
    model = model_around("incomplete_config")
    kill(model.get_layer("hidden"), 0)
    _, record = kreg.compact(model, return_compaction=True)
    (note,) = record.notes
    assert "IncompleteConfig" in note


def test_the_sample_is_what_the_models_are_compared_on():
    class Table(layers.Layer):
        def call(self, x):
            seen.append(np.max(ops.convert_to_numpy(x)))
            return x

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    seen = []
    x = keras.Input((5,))
    y = layers.Dense(8, "relu", name="hidden")(Table()(x))
    model = filled(keras.Model(x, layers.Dense(2)(y)))
    kill(model.get_layer("hidden"), 0)
    kreg.compact(model, sample=np.full((2, 5), 77.0, "float32"))
    assert set(seen) == {77.0}
