"""What is frozen stays frozen, and what stays whole says why."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import entry, filled, kill, x_of
from thorough import few_of

import kreg


@keras.saving.register_keras_serializable(package="frozen")
class Block(layers.Layer):
    """Three layers of one width."""

    def __init__(self, width, **arguments):
        super().__init__(**arguments)
        self.width = width
        self.first = layers.Dense(width, "relu", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.last = layers.Dense(width, name="last")

    def build(self, shape):
        self.first.build(shape)
        self.norm.build((*shape[:-1], self.width))
        self.last.build((*shape[:-1], self.width))

    def call(self, x):
        return self.last(self.norm(self.first(x)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="frozen")
class Net(keras.Model):
    """A subclass with a code of its own."""

    def __init__(self, width=8, **arguments):
        super().__init__(**arguments)
        self.width = width
        self.first = layers.Dense(width, "relu", name="first")
        self.last = layers.Dense(2, name="last")

    def call(self, x):
        return self.last(self.first(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="frozen")
class BranchesOnValues(Net):
    def call(self, x):
        h = self.first(x)
        return self.last(
            2 * h if float(ops.stop_gradient(ops.mean(h))) > 5 else h
        )


@keras.saving.register_keras_serializable(package="frozen")
class BranchesOnLength(Net):
    """Only long sequences read the units that short ones do not."""

    def call(self, x):
        h = self.first(x)
        y = self.last(h)
        if x.shape[1] > 16:
            y = y + ops.max(h, axis=-1, keepdims=True)
        return ops.mean(y, axis=1)


def subclass(units):
    model = Net()
    model(x_of(2, 6))
    model.first.trainable = False
    kill(filled(model).first, *units)
    return model


def block(units):
    inside = Block(8)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(2)(inside(inputs)))
    inside.norm.trainable = inside.first.trainable = False
    kill(filled(model).get_layer(inside.name).first, *units)
    return model


def attention(units):
    inputs = keras.Input((5, 6))
    layer = layers.MultiHeadAttention(4, 3, name="heads")
    model = filled(keras.Model(inputs, layer(inputs, inputs)))
    layer.key_dense.trainable = False
    kernel = ops.convert_to_numpy(layer.output_dense.kernel).copy()
    kernel[list(units)] = 0
    layer.output_dense.kernel.assign(kernel)
    return model


def variable(units):
    layer = layers.Dense(8, "relu", name="dense")
    model = keras.Sequential([keras.Input((6,)), layer, layers.Dense(2)])
    kill(filled(model).layers[0], *units)
    layer.kernel.trainable = False
    return model


FROZEN = {
    "subclass": (subclass, (2, 6)),
    "block": (block, (2, 6)),
    "attention": (attention, (2, 5, 6)),
    "variable": (variable, (2, 6)),
}


@pytest.mark.parametrize("units", few_of([(0, 2), ()], (0, 2)))
@pytest.mark.parametrize("name", FROZEN)
def test_what_is_frozen_stays_frozen(name, units):
    make, shape = FROZEN[name]
    model = make(units)
    small = kreg.compact(model, sample=x_of(*shape))
    assert (small.count_params() < model.count_params()) == bool(units)
    flags = [v.trainable for v in model.weights]
    assert [v.trainable for v in small.weights] == flags
    assert not all(flags)


def test_a_frozen_normalization_of_a_block_stays_as_in_inference():
    model = block((0, 2))
    small, x = kreg.compact(model), x_of(16, 6)
    np.testing.assert_allclose(
        ops.convert_to_numpy(small(x, training=True)),
        ops.convert_to_numpy(model(x, training=True)),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (BranchesOnValues, "symbolic"),
        (BranchesOnLength, "depends on the size of its inputs"),
    ],
)
def test_every_layer_of_a_model_that_stays_whole_says_why(cls, reason):
    model = cls()
    short = x_of(2, 8, 6)
    model(short)
    kernel, bias = filled(model).last.get_weights()
    kernel[:3] = 0
    model.last.set_weights([kernel, bias])
    small, compaction = kreg.compact(
        model, sample=short, return_compaction=True
    )
    assert all(reason in row.stays for row in compaction.layers)
    long = x_of(2, 24, 6)
    np.testing.assert_allclose(
        ops.convert_to_numpy(small(long)),
        ops.convert_to_numpy(model(long)),
        atol=1e-5,
    )


@keras.saving.register_keras_serializable(package="frozen")
def centered(x):
    return x - ops.mean(x, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="frozen")
class Transposed(layers.Layer):
    """Reads the kernel of another layer."""

    def __init__(self, other, **options):
        super().__init__(**options)
        self.other = other

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.other.kernel))

    def get_config(self):
        other = keras.saving.serialize_keras_object(self.other)
        return {**super().get_config(), "other": other}

    @classmethod
    def from_config(cls, config):
        other = keras.saving.deserialize_keras_object(config.pop("other"))
        return cls(other, **config)


def tied_pair():
    x = keras.Input((6,))
    other = layers.Dense(6, "relu", name="other")
    dense = layers.Dense(4, "relu", name="dense")
    y = Transposed(other)(Transposed(dense)(dense(other(x))))
    return keras.Model(x, y)


def mixing():
    dense = layers.Dense(8, centered, name="dense")
    return keras.Sequential([keras.Input((6,)), dense, layers.Dense(2)])


REASONS = [
    (tied_pair, "another layer uses its weights too"),
    (mixing, "is not known to treat every unit by itself"),
]


@pytest.mark.parametrize(("make", "reason"), REASONS)
def test_a_layer_that_stays_whole_says_why(make, reason):
    model = filled(make())
    (dense,) = [x for x in model._flatten_layers() if x.name == "dense"]
    kill(dense, 0, 2)
    _, record = kreg.compact(model, return_compaction=True)
    row = entry(record, "dense")
    assert row.units_after == row.units_before == dense.units
    assert reason in row.stays


class WithSpare(keras.Model):
    """A layer that no output depends on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first = layers.Dense(8, "relu")
        self.head, self.spare = layers.Dense(2), layers.Dense(4)

    def call(self, x):
        self.spare(x)
        return self.head(self.first(x))


def test_a_layer_that_is_left_out_keeps_nothing():
    model = WithSpare()
    model(x_of(2, 6))
    kill(filled(model).spare, 0)
    kill(model.first, 0)
    _, record = kreg.compact(model, sample=x_of(2, 6), return_compaction=True)
    row = record.layers[-1]
    assert (row.units_before, row.units_after, row.kept) == (4, 0, {})
