"""Masks, also such as hide all positions of a row, and constant channels."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, zero
from thorough import few_of

import kreg


@keras.saving.register_keras_serializable(package="masks")
class ZeroMasked(layers.Layer):
    """Sets what a mask hides to zero."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_masking = True

    def call(self, x, mask=None):
        return x * ops.expand_dims(ops.cast(mask, x.dtype), -1)


def scores_of(x, y):
    return ops.matmul(x, ops.transpose(y, (0, 2, 1)))


def explicit_mask(x, y):
    weights = layers.Softmax()(
        scores_of(x, y), mask=ops.any(x > 1.5, 2)[:, None]
    )
    return ops.matmul(weights, y)


STEPS = 5
MASKED = {
    "attention": lambda x, y: layers.Attention()([x, y]),
    "additive attention": lambda x, y: layers.AdditiveAttention()([x, y]),
    "heads": lambda x, y: layers.MultiHeadAttention(2, 4)(x, y),
    "heads with dropout": lambda x, y: layers.MultiHeadAttention(
        2, 4, dropout=0.1, name="heads"
    )(x, y),
    "grouped queries": lambda x, y: layers.GroupQueryAttention(
        4, 4, 2, dropout=0.1
    )(x, y),
    "softmax": explicit_mask,
    "product": lambda x, y: layers.Multiply()([x, y]),
    "product with one mask": lambda x, y: layers.Multiply()(
        [x, layers.Dense(6, "tanh")(y[:, ::-1])]
    ),
    "maximum": lambda x, y: layers.Maximum()([x, y]),
    "minimum": lambda x, y: layers.Minimum()([x, y]),
    "sum": lambda x, y: layers.Add()([x, y]),
    "concatenation": lambda x, y: layers.Concatenate(axis=1)([x, y]),
    "mean": lambda x, y: layers.GlobalAveragePooling1D()(x),
    "steps": lambda x, y: layers.TimeDistributed(layers.Dense(4))(x),
    "directions": lambda x, y: layers.Bidirectional(layers.LSTM(3))(x),
    "recurrent": lambda x, y: layers.LSTM(
        4, return_sequences=True, zero_output_for_mask=True
    )(x),
    "own": lambda x, y: ZeroMasked()(x),
}
CONSTANTS = few_of([(2.0, 3.0), (0.0, 2.0)], (2.0, 3.0))
FEW = ("heads with dropout", "softmax", "product", "maximum", "own")


# Keras's layer of grouped queries hands its mask to layers that take none.
@pytest.mark.filterwarnings("ignore:(?s).*was passed an input with a mask")
@pytest.mark.parametrize("constants", CONSTANTS)
@pytest.mark.parametrize("name", few_of(MASKED, *FEW))
def test_outputs_stay_where_a_mask_hides_all(name, constants):
    inputs = keras.Input((STEPS, 6))
    masked = layers.Masking()(inputs)
    before = [layers.Dense(6, "relu", name=name) for name in ("one", "other")]
    x = MASKED[name](*(layer(masked) for layer in before))
    x = ops.reshape(x, (-1, math.prod(x.shape[1:])))
    model = filled(keras.Model(inputs, layers.Dense(3)(x)))
    for layer, constant in zip(before, constants, strict=True):
        zero(layer.kernel, ..., [1, 3])
        bias = ops.convert_to_numpy(layer.bias).copy()
        bias[[1, 3]] = constant
        layer.bias.assign(bias)
    if name == "heads with dropout":
        zero(model.get_layer("heads")._value_dense.kernel, slice(None), 1)
    small = kreg.compact(model)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, STEPS, 6)).astype("float32")
    x[0] = x[1, 3:] = x[2, :2] = 0
    expected = model.predict(x, verbose=0)
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(
        small.predict(x, verbose=0) / scale, expected / scale, atol=1e-5
    )


def test_a_layer_that_uses_its_mask_takes_inputs_of_any_length():
    inputs = keras.Input((None, 6))
    x = layers.Dense(8, "relu", name="before")(layers.Masking()(inputs))
    x = layers.LSTM(5)(ZeroMasked()(x))
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    zero(model.get_layer("before").kernel, ..., [0, 3])
    small = kreg.compact(model)
    x = np.random.default_rng(0).normal(size=(3, 9, 6)).astype("float32")
    x[:, 5:] = 0
    np.testing.assert_allclose(
        small.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5
    )


@keras.saving.register_keras_serializable(package="masks")
class Masked(layers.Layer):
    """A custom layer, whose config has no sizes, that gets a mask."""

    def __init__(self, uses=True, **arguments):
        super().__init__(**arguments)
        self.supports_masking = True
        self.uses = uses
        self.hidden = layers.Dense(8, "relu", name="hidden")
        self.out = layers.Dense(4, name="out")

    def build(self, shape):
        self.hidden.build(shape)
        self.out.build((*shape[:-1], 8))

    def call(self, x, mask=None):
        y = self.out(self.hidden(x))
        if self.uses and mask is not None:
            y = y * ops.expand_dims(ops.cast(mask, y.dtype), -1)
        return ops.tanh(y)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)

    def get_config(self):
        return {**super().get_config(), "uses": self.uses}


def in_a_model(layer):
    x = keras.Input((STEPS, 6))
    return keras.Model(x, layer(x))


HOLDERS = {
    "none": lambda layer: layer,
    "model": in_a_model,
    "two models": lambda layer: in_a_model(in_a_model(layer)),
    "steps": layers.TimeDistributed,
    "model in steps": lambda layer: layers.TimeDistributed(
        keras.Sequential([keras.Input((6,)), layer])
    ),
}
SOURCES = {
    "masking": (lambda: layers.Masking(), (STEPS, 6), "float32"),
    "ids": (
        lambda: layers.Embedding(1000, 6, mask_zero=True),
        (STEPS,),
        "int32",
    ),
}


@pytest.mark.filterwarnings("ignore:(?s).*was passed an input with a mask")
@pytest.mark.parametrize("uses", few_of([True, False], True))
@pytest.mark.parametrize("source", few_of(SOURCES, "ids"))
@pytest.mark.parametrize("holder", few_of(HOLDERS, "model", "steps"))
def test_custom_layers_get_the_masks_of_the_model_around(holder, source, uses):
    layer = Masked(uses)
    make, shape, dtype = SOURCES[source]
    inputs = keras.Input(shape, dtype=dtype)
    x = HOLDERS[holder](layer)(make()(inputs))
    model = filled(keras.Model(inputs, layers.LSTM(3)(x)))
    zero(layer.hidden.kernel, ..., [0, 3])
    rng = np.random.default_rng(0)
    x = (2.0 + 500.0 * rng.uniform(size=(4, *shape))).astype(dtype)
    x[:2, 3:] = 0
    small = kreg.compact(model)
    np.testing.assert_allclose(
        small.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5
    )
