"""Graphs in which a unit that looks removable may not be.

Each has random dead and unread units; whatever goes, the outputs stay.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.compaction_graphs import IMAGE, STEPS, stack
from surgery.random_weights import (
    largest_difference,
    outputs,
    randomize,
    some_inputs,
)
from thorough import few_of

import kreg


def features(function, width=8, activation="sigmoid"):
    """A Dense layer, a function of its units, another Dense layer."""

    def build():
        inputs = keras.Input((6,))
        x = layers.Dense(width, activation)(inputs)
        x = layers.Flatten()(function(x))
        x = layers.Dense(4, "tanh")(x)
        return keras.Model(inputs, layers.Dense(3)(x))

    return build


def images(function, activation="sigmoid"):
    def build():
        inputs = keras.Input((8, 8, 3))
        x = layers.Conv2D(8, 3, activation=activation)(inputs)
        x = layers.Flatten()(function(x))
        return keras.Model(inputs, layers.Dense(3)(x))

    return build


def steps(function, activation="sigmoid"):
    def build():
        inputs = keras.Input((10, 3))
        x = layers.Dense(8, activation)(inputs)
        x = layers.Flatten()(function(x))
        return keras.Model(inputs, layers.Dense(3)(x))

    return build


@keras.saving.register_keras_serializable(package="compaction")
def centred(x):
    return x - ops.mean(x, axis=-1, keepdims=True)


def attended(x):
    """One map of weights for all channels."""
    weights = layers.Conv2D(1, 1, activation="sigmoid")(x)
    return layers.Multiply()([x, weights])


def sum_of_ranks(x):
    pooled = layers.GlobalAveragePooling1D()(x)
    return layers.Add()([x, layers.Dense(8)(pooled)])


def with_state(kind, states):
    def function(x):
        pooled = layers.GlobalMaxPooling1D()(x)
        state = [layers.Dense(8, "tanh")(pooled) for _ in range(states)]
        given = state if states > 1 else state[0]
        return kind(8)(x, initial_state=given)

    return function


def returned_state(x):
    _, hidden, cell = layers.LSTM(8, return_state=True)(x)
    return layers.Concatenate()([hidden, cell])


def attention_over_steps(x):
    return layers.Attention()([layers.Dense(8)(x), x])


def loop(x):
    """A layer that reads what it makes."""
    shared = layers.Dense(8, "tanh")
    for _ in range(3):
        x = layers.Add()([x, shared(x)])
    return x


def lora(x):
    layer = layers.Dense(8)
    y = layer(x)
    layer.enable_lora(2)
    return y


def shared_over_sizes(x):
    convolution = layers.Conv2D(8, 2, padding="same", activation="relu")
    small = layers.MaxPooling2D()(x)
    return layers.Concatenate()(
        [layers.Flatten()(convolution(y)) for y in (x, small)]
    )


def shared_normalization(x):
    normalization = layers.BatchNormalization()
    return layers.Concatenate()(
        [normalization(x), normalization(layers.Dense(8, "relu")(x))]
    )


TRAPS = {
    # Operations on the channels themselves
    "slice": features(lambda x: x[:, 2:7]),
    "slice_of_steps": steps(lambda x: x[:, 1:4]),
    "split": features(lambda x: ops.split(x, 2, axis=-1)[1]),
    "mean_of_channels": features(
        lambda x: x - ops.mean(x, axis=-1, keepdims=True)
    ),
    "mean_of_steps": steps(lambda x: ops.mean(x, axis=1)),
    "maximum_of_channels": features(
        lambda x: x / ops.max(x, axis=-1, keepdims=True)
    ),
    "times_an_array": features(lambda x: x * np.arange(8.0)),
    "plus_an_array": features(lambda x: ops.subtract(np.arange(8.0), x)),
    "divided": features(lambda x: 1.0 / (1.0 + ops.square(x))),
    "power": features(lambda x: x**2 + 2.0**x),
    "transpose": steps(lambda x: ops.transpose(x, (0, 2, 1))),
    "reshape": steps(lambda x: ops.reshape(x, (-1, 8, 10))),
    "flip": features(lambda x: ops.flip(x, axis=-1)),
    "roll": features(lambda x: x + ops.roll(x, 1, axis=-1)),
    "cumulative_sum": features(lambda x: ops.cumsum(x, axis=-1)),
    "stack": features(lambda x: ops.stack([x, ops.relu(x)], axis=1)),
    "expand_dims": features(lambda x: ops.expand_dims(x, -1)),
    "matmul": steps(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
    "where": features(lambda x: ops.where(x > 0.5, x, -x)),
    "concatenate": features(lambda x: ops.concatenate([x, 1.0 - x], -1)),
    "pad": features(lambda x: ops.pad(x, ((0, 0), (1, 2)))),
    "clip": features(lambda x: ops.clip(x, 0.3, 0.6)),
    "one_dimension_more": features(lambda x: x[:, None, :] * x[:, :, None]),
    "dot": features(lambda x: layers.Dot(1)([x, layers.Dense(8)(x)])),
    "softmax_over_steps": steps(layers.Softmax(axis=1)),
    "lambda": features(layers.Lambda(lambda x: x - ops.flip(x, axis=-1))),
    # Broadcasting
    "attended": images(attended),
    "sum_of_ranks": steps(sum_of_ranks),
    "one_unit_for_all": features(
        lambda x: layers.Multiply()([x, layers.Dense(1)(x)])
    ),
    "one_unit_added": features(lambda x: x + layers.Dense(1)(x)),
    "constant_unit_for_all": features(
        lambda x: ops.maximum(x, layers.Dense(1, kernel_regularizer="l2")(x))
    ),
    # Shapes
    "permute": steps(layers.Permute((2, 1))),
    "reshape_of_half_rows": features(layers.Reshape((2, 4))),
    "reshape_of_columns": features(layers.Reshape((8, 1))),
    "reshape_of_images": images(layers.Reshape((4, 9, 8))),
    "reshape_of_pairs": images(layers.Reshape((18, 16))),
    "reshape_across_rows": steps(layers.Reshape((5, 16))),
    "reshape_odd": steps(layers.Reshape((16, 5))),
    "concatenate_steps": steps(
        lambda x: layers.Concatenate(axis=1)([x, layers.Dense(8)(x)])
    ),
    # Normalizations, and layers that mix what they should not
    "normalization_of_rows": images(layers.BatchNormalization(axis=1)),
    "normalization_while_training": features(
        lambda x: layers.BatchNormalization()(x, training=True)
    ),
    "normalization": features(lambda x: layers.Normalization()(x)),
    "normalization_of_layers": images(layers.LayerNormalization(axis=[2, 3])),
    "prelu_of_rows": images(layers.PReLU(shared_axes=[2])),
    "spectral": features(layers.SpectralNormalization(layers.Dense(8))),
    "einsum": features(layers.EinsumDense("bi,ij->bj", 8)),
    "bilinear": images(layers.UpSampling2D(2, interpolation="bilinear")),
    "bicubic": images(layers.UpSampling2D(2, interpolation="bicubic")),
    "resizing": images(layers.Resizing(4, 5)),
    "rescaling": features(layers.Rescaling(np.arange(8.0), 0.5)),
    "depthwise_strides": images(
        layers.DepthwiseConv2D(2, strides=2, padding="same")
    ),
    "depthwise_multiplier": images(
        layers.DepthwiseConv2D(
            3, padding="same", depth_multiplier=3, activation="relu"
        )
    ),
    "separable_multiplier": images(
        layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=2)
    ),
    "average_pooling_same": images(
        layers.AveragePooling2D(3, strides=2, padding="same")
    ),
    "max_pooling_same": images(
        layers.MaxPooling2D(3, strides=2, padding="same"), "tanh"
    ),
    "transposed_output_padding": images(
        layers.Conv2DTranspose(4, 3, strides=2, output_padding=1)
    ),
    "transposed_same": images(
        layers.Conv2DTranspose(4, 3, strides=2, padding="same")
    ),
    "grouped": images(
        lambda x: layers.Conv2D(6, 3, groups=2, activation="relu")(x)
    ),
    "dense_on_images": images(lambda x: layers.Dense(4, "relu")(x)),
    # Activations
    "log_softmax": features(lambda x: x, activation="log_softmax"),
    "sparsemax": features(lambda x: x, activation="sparsemax"),
    "activation_layer": features(
        lambda x: x, activation=layers.LeakyReLU(negative_slope=0.3)
    ),
    "activation_function": features(lambda x: x, activation=centred),
    "exponential": features(lambda x: x, activation="exponential"),
    # Recurrent layers and masks
    "masking": steps(lambda x: layers.LSTM(8)(layers.Masking(0.0)(x)), "relu"),
    "masked_mean": steps(
        lambda x: layers.GlobalAveragePooling1D()(layers.Masking(0.0)(x)),
        "relu",
    ),
    "initial_state": steps(with_state(layers.LSTM, 2)),
    "initial_state_of_gru": steps(with_state(layers.GRU, 1)),
    "returned_state": steps(returned_state),
    "gru_reset_before": steps(layers.GRU(8, reset_after=False)),
    "gru_without_bias": steps(layers.GRU(8, use_bias=False)),
    "lstm_without_bias": steps(layers.LSTM(8, use_bias=False)),
    "lstm_of_sigmoids": steps(layers.LSTM(8, activation="sigmoid")),
    "lstm_backwards": steps(
        layers.LSTM(8, go_backwards=True, return_sequences=True)
    ),
    "rnn_of_cells": steps(layers.RNN([layers.LSTMCell(8), layers.GRUCell(8)])),
    "bidirectional": steps(
        layers.Bidirectional(layers.GRU(8), merge_mode="sum")
    ),
    "time_distributed": steps(layers.TimeDistributed(layers.Dense(8, "relu"))),
    "attention": steps(attention_over_steps),
    # Sharing
    "loop": features(loop),
    "shared_over_sizes": images(shared_over_sizes),
    "shared_normalization": features(shared_normalization),
    # Weights in another form
    "lora": features(lora),
}


def compared(model, **arguments):
    x = some_inputs(model)
    small = kreg.compact(model, **arguments)
    expected = outputs(model, x)
    assert max(y.std(axis=0).max() for y in expected) > 1e-5
    assert largest_difference(outputs(small, x), expected) < 2e-5
    return small


@pytest.mark.parametrize(
    "aligned", few_of([True, False], True), ids=["aligned", "own"]
)
@pytest.mark.parametrize("name", few_of(TRAPS, *list(TRAPS)[::3]))
def test_the_outputs_stay(name, aligned):
    model = TRAPS[name]()
    randomize(model, aligned=aligned)
    compared(model)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_recurrent_unit_with_a_bias_stays(kind):
    model = stack(STEPS, kind(8))
    randomize(model)
    layer = model.layers[0]
    *kernels, bias = layer.get_weights()
    layer.set_weights([*kernels, np.full_like(bias, 0.3)])
    compared(model)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not")
@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_a_quantized_model_keeps_its_outputs(mode):
    model = stack((6,), layers.Dense(8, "relu"), layers.Dense(8, "relu"))
    randomize(model)
    model.quantize(mode)
    compared(model)


def test_an_input_that_is_an_output_stays():
    inputs = keras.Input((6,))
    x = layers.Dense(8, "relu")(inputs)
    model = keras.Model(inputs, [inputs, layers.Dense(3)(x), x])
    randomize(model)
    small = compared(model, drop_inputs=True)
    assert small.count_params() == model.count_params()


def test_an_output_given_twice_stays_twice():
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    y = layers.Dense(2)(layers.GlobalMaxPooling2D()(x))
    model = keras.Model(inputs, [y, y])
    randomize(model)
    assert len(compared(model).outputs) == 2


def test_an_input_that_nothing_reads_stays():
    inputs = [keras.Input((6,)), keras.Input((4,))]
    x = layers.Dense(8, "relu")(inputs[0])
    model = keras.Model(inputs, layers.Dense(3)(x))
    randomize(model)
    assert len(compared(model).inputs) == 2


def test_a_fixed_batch_size_stays():
    inputs = keras.Input(batch_shape=(11, 5))
    x = layers.Dense(8, "relu")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(x))
    randomize(model)
    assert compared(model).input_shape == (11, 5)


def test_an_unknown_number_of_positions_is_no_obstacle():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(8, 1)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    randomize(model)
    small = kreg.compact(model)
    x = np.random.default_rng(0).normal(size=(4, 7, 9, 3)).astype("float32")
    assert largest_difference(outputs(small, x), outputs(model, x)) < 1e-5
    assert small.count_params() < 0.3 * model.count_params()


def test_a_unit_of_no_weight_but_a_varying_sum_stays():
    """A dead unit in a sum with one that varies is no constant."""
    inputs = keras.Input((6,))
    dead, alive = layers.Dense(4), layers.Dense(4)
    x = layers.Add()([dead(inputs), alive(inputs)])
    model = keras.Model(inputs, layers.Dense(3)(x))
    randomize(model)
    dead.set_weights([np.zeros((6, 4)), np.ones(4)])
    alive.set_weights([np.ones((6, 4)), np.ones(4)])
    model.layers[-1].set_weights([np.ones((4, 3)), np.ones(3)])
    assert compared(model).count_params() == model.count_params()
