"""Models and custom layers in each step: units inside them go."""

import keras
import numpy as np
import pytest
from keras import layers
from surgery.handmade import (
    PRECISIONS,
    compacted,
    entry,
    filled,
    in_precision,
    kill,
    same,
    x_of,
    zero,
)
from thorough import few_of

import kreg

STEPS, IMAGE, FEATURES = 3, (6, 6, 2), (5,)


def serializable(cls):
    return keras.saving.register_keras_serializable("steps")(cls)


@serializable
class Block(layers.Layer):
    """A custom layer with units inside it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.hidden = layers.Dense(8, "gelu", name="hidden")

    def build(self, shape):
        self.out = layers.Dense(shape[-1], name="out")
        self.hidden.build(shape)
        self.out.build((*shape[:-1], 8))

    def call(self, x):
        return x + self.out(self.hidden(x))

    def compute_output_shape(self, shape):
        return shape


@serializable
class Encoder(keras.Model):
    """A subclass whose config has no sizes."""

    def __init__(self, **options):
        super().__init__(**options)
        self.hidden = layers.Dense(8, "relu", name="hidden")
        self.out = layers.Dense(4, name="out")

    def build(self, shape):
        self.hidden.build(shape)
        self.out.build((*shape[:-1], 8))

    def call(self, x):
        return self.out(self.hidden(x))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


def perceptron():
    return keras.Sequential(
        [
            keras.Input(FEATURES),
            layers.Dense(8, "relu", name="hidden"),
            layers.Dropout(0.5),
            layers.Dense(4, name="out"),
        ],
        name="inside",
    )


def convolutions():
    """Images in, features out; a batch normalization between."""
    images = keras.Input(IMAGE)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="hidden")(
        images
    )
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(images, layers.Dense(4, name="out")(x), name="inside")


def residual():
    inputs = keras.Input(FEATURES)
    hidden = layers.Dense(8, "tanh", name="hidden")(inputs)
    return keras.Model(
        inputs, inputs + layers.Dense(5, name="out")(hidden), name="inside"
    )


def nested():
    return keras.Sequential(
        [keras.Input(FEATURES), perceptron()], name="around"
    )


def of_sequences():
    """Each step is a sequence itself."""
    inputs = keras.Input((4, 3))
    x = layers.Dense(8, "relu", name="hidden")(inputs)
    return keras.Model(inputs, layers.GRU(4, name="out")(x), name="inside")


INSIDE = {
    "perceptron": (perceptron, FEATURES),
    "convolutions": (convolutions, IMAGE),
    "residual": (residual, FEATURES),
    "nested": (nested, FEATURES),
    "subclass": (lambda: Encoder(name="inside"), FEATURES),
    "custom_layer": (lambda: Block(name="inside"), FEATURES),
    "sequences": (of_sequences, (4, 3)),
}


def part(layer, name):
    """The first layer of a name inside another one, however deep."""
    return next(
        found
        for found in layer._flatten_layers()
        if found.name.split("_")[-1] == name
    )


def kernel_of(layer):
    return getattr(layer, "cell", layer).kernel


def in_steps(inside, shape, steps=STEPS):
    """A model in each step, a recurrent layer over its outputs."""
    inputs = keras.Input((steps, *shape))
    x = layers.TimeDistributed(inside, name="steps")(inputs)
    x = layers.LSTM(6)(layers.Reshape((-1, x.shape[-1]))(x))
    return filled(keras.Model(inputs, layers.Dense(2)(x)))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", few_of(INSIDE, "convolutions", "subclass"))
def test_units_of_a_model_in_each_step_go(name, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    make, shape = INSIDE[name]
    inside = make()
    model = in_steps(inside, shape)
    kill(part(inside, "hidden"), 1, 2, 5)
    zero(kernel_of(part(inside, "out")), 0)
    small, _ = compacted(model, x_of(4, STEPS, *shape), tolerance, tmp_path)
    wrapper = small.layers[1]
    assert type(wrapper) is layers.TimeDistributed
    assert part(wrapper, "hidden").kernel.shape[-1] == 4
    assert kernel_of(part(wrapper, "out")).shape[-2] == 4


def test_outputs_of_a_model_in_each_step_go(tmp_path):
    model = in_steps(perceptron(), FEATURES)
    lstm = next(y for y in model.layers if isinstance(y, layers.LSTM))
    zero(lstm.cell.kernel, [0, 3])
    small, compaction = compacted(
        model, x_of(4, STEPS, *FEATURES), 1e-5, tmp_path
    )
    found = entry(compaction, "out")
    assert (found.units_before, found.units_after) == (4, 2)
    assert small.layers[1].layer.output_shape == (None, 2)


def test_constants_before_a_model_in_each_step_go(tmp_path):
    inputs = keras.Input((STEPS, 4))
    x = layers.Dense(6, "sigmoid", name="before")(inputs)
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, "relu"), layers.Dense(4)]
    )
    x = layers.TimeDistributed(inner)(x)
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    zero(model.get_layer("before").kernel, ..., [0, 3])
    small, _ = compacted(model, x_of(4, STEPS, 4), 1e-5, tmp_path)
    assert small.get_layer("before").units == 4
    assert small.layers[2].layer.input_shape == (None, 4)


def test_a_number_of_steps_that_is_not_known(tmp_path):
    inside = perceptron()
    inputs = keras.Input((None, *FEATURES))
    x = layers.TimeDistributed(inside)(inputs)
    model = filled(keras.Model(inputs, layers.GRU(3)(x)))
    kill(part(inside, "hidden"), 1, 2, bias=0.0)
    small, _ = compacted(model, x_of(4, 7, *FEATURES), 1e-5, tmp_path)
    assert part(small, "hidden").kernel.shape == (5, 6)


def test_steps_of_steps(tmp_path):
    """Clips of images: a wrapper around a wrapper around a model."""
    inside = convolutions()
    wrapper = layers.TimeDistributed(layers.TimeDistributed(inside))
    inputs = keras.Input((2, STEPS, *IMAGE))
    model = filled(keras.Model(inputs, layers.Dense(2)(wrapper(inputs))))
    zero(part(inside, "out").kernel, [1, 2])
    small, _ = compacted(model, x_of(2, 2, STEPS, *IMAGE), 1e-5, tmp_path)
    assert part(small, "hidden").kernel.shape[-1] == 6


def test_a_model_that_is_called_on_single_steps_too():
    # Keras itself cannot load such a model.
    inside = perceptron()
    steps, single = keras.Input((STEPS, *FEATURES)), keras.Input(FEATURES)
    x = layers.Flatten()(layers.TimeDistributed(inside)(steps))
    y = layers.Concatenate()([x, inside(single)])
    model = filled(keras.Model([steps, single], layers.Dense(2)(y)))
    kill(part(inside, "hidden"), 1, 2, bias=0.0)
    assert same(
        kreg.compact(model), model, [x_of(4, STEPS, *FEATURES), x_of(4, 5)]
    )


@pytest.mark.parametrize("name", few_of(["perceptron", "subclass"], "subclass"))
def test_masked_steps(name, tmp_path):
    inside = INSIDE[name][0]()
    ids = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 5, mask_zero=True)(ids)
    x = layers.TimeDistributed(inside, name="steps")(x)
    model = filled(keras.Model(ids, layers.LSTM(3)(x)))
    kill(part(model, "hidden"), 1, 2, bias=0.0)
    tokens = np.random.default_rng(0).integers(1, 11, (4, 7))
    tokens[:, 4:] = 0
    small, _ = compacted(model, tokens, 1e-5, tmp_path)
    assert part(small, "hidden").kernel.shape == (5, 6)


@pytest.mark.thorough
def test_training_goes_on_as_before():
    """The same dropout and statistics of the batch as in the large model."""
    inside = convolutions()
    model = in_steps(inside, IMAGE)
    kill(part(inside, "hidden"), 1, 2)
    zero(inside.layers[2].gamma, [1, 2])
    zero(inside.layers[2].beta, [1, 2])
    small = kreg.compact(model)
    x, y = x_of(16, STEPS, *IMAGE), x_of(16, 2)
    for each in (model, small):
        each.compile(keras.optimizers.SGD(0.01), "mse")
        each.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    difference = small.predict(x, verbose=0) - model.predict(x, verbose=0)
    assert np.abs(difference).max() < 1e-4


def test_each_layer_in_a_custom_layer_has_a_row():
    model = in_steps(Block(name="inside"), FEATURES)
    _, compaction = kreg.compact(model, return_compaction=True)
    paths = [row.path for row in compaction.layers]
    assert {"steps/inside/hidden", "steps/inside/out"} <= set(paths)
