"""Recurrent layers and layers around others: units go, and outputs stay."""

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
    x_of,
    zero,
)
from thorough import few_of

import kreg

GATES = {layers.LSTM: 4, layers.GRU: 3, layers.SimpleRNN: 1}
CONVOLUTIONS = {
    layers.ConvLSTM1D: (7,),
    layers.ConvLSTM2D: (5, 6),
    layers.ConvLSTM3D: (3, 4, 3),
}
OUTPUTS = [
    {},
    {"return_sequences": True},
    {"return_state": True},
    {"return_sequences": True, "return_state": True},
]
MODES = ["concat", "sum", "ave", "mul", None]


def silence(cell, *units, gates=4):
    """Lets units of a cell stay at 0: nothing moves them."""
    for weight in (cell.kernel, cell.recurrent_kernel, cell.bias):
        values = keras.ops.convert_to_numpy(weight)
        parts = values.reshape(*values.shape[:-1], gates, -1).copy()
        parts[..., list(units)] = 0.0
        weight.assign(parts.reshape(values.shape))


def around(layer, shape, dense=6):
    """A model: constants among the inputs of a layer, logits of its outputs."""
    inputs = keras.Input(shape)
    x = layers.Dense(dense, "sigmoid", name="before")(inputs)
    found = keras.tree.flatten(layer(x))
    outputs = [layers.Dense(2)(y) for y in found]
    model = filled(keras.Model(inputs, outputs))
    zero(model.get_layer("before").kernel, ..., [0, 3])
    return model


def sizes(cell):
    """The inputs and the units of a cell."""
    return cell.kernel.shape[-2], cell.recurrent_kernel.shape[-2]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", few_of(GATES, layers.GRU))
@pytest.mark.parametrize("settings", few_of(OUTPUTS, OUTPUTS[3]))
def test_units_at_zero_go_from_all_outputs(kind, settings, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    layer = kind(6, **settings)
    model = around(layer, (5, 4))
    silence(layer.cell, 1, 2, gates=GATES[kind])
    small, _ = compacted(model, x_of(3, 5, 4), tolerance, tmp_path)
    assert sizes(small.layers[2].cell) == (4, 4)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", few_of(GATES, layers.LSTM))
@pytest.mark.parametrize("mode", few_of(MODES, "concat", "mul"))
@pytest.mark.parametrize("settings", few_of(OUTPUTS, OUTPUTS[1]))
def test_both_directions_keep_equal_numbers(
    kind, mode, settings, precision, tmp_path
):
    dtype, tolerance = precision
    in_precision(dtype)
    layer = layers.Bidirectional(kind(6, **settings), merge_mode=mode)
    model = around(layer, (5, 4))
    silence(layer.forward_layer.cell, 1, 2, gates=GATES[kind])
    silence(layer.backward_layer.cell, 2, 4, 5, gates=GATES[kind])
    small, _ = compacted(model, x_of(3, 5, 4), tolerance, tmp_path)
    wrapper = small.layers[2]
    # Only unit 2 is 0 in both, which counts where both are combined.
    units = 4 if mode in ("concat", None) else 5
    assert sizes(wrapper.forward_layer.cell) == (4, units)
    assert sizes(wrapper.backward_layer.cell) == (4, units)


@pytest.mark.parametrize("mode", few_of(MODES, "concat"))
def test_one_unit_of_each_direction_stays(mode, tmp_path):
    layer = layers.Bidirectional(layers.LSTM(6), merge_mode=mode)
    model = around(layer, (5, 4))
    for way in (layer.forward_layer, layer.backward_layer):
        silence(way.cell, *range(6))
    small, _ = compacted(model, x_of(3, 5, 4), 1e-5, tmp_path)
    assert sizes(small.layers[2].forward_layer.cell) == (1, 1)


@pytest.mark.thorough
def test_both_directions_of_masked_steps(tmp_path):
    ids = keras.Input((7,), dtype="int32")
    layer = layers.Bidirectional(layers.GRU(6, return_sequences=True))
    x = layers.LSTM(3)(layer(layers.Embedding(11, 5, mask_zero=True)(ids)))
    model = filled(keras.Model(ids, layers.Dense(2)(x)))
    silence(layer.forward_layer.cell, 1, 2, gates=3)
    silence(layer.backward_layer.cell, 0, 5, gates=3)
    tokens = np.random.default_rng(0).integers(1, 11, (4, 7))
    tokens[:, 4:] = 0
    small, _ = compacted(model, tokens, 1e-5, tmp_path)
    wrapper = next(y for y in small.layers if hasattr(y, "forward_layer"))
    assert sizes(wrapper.forward_layer.cell) == (5, 4)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", few_of(CONVOLUTIONS, layers.ConvLSTM2D))
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("settings", few_of(OUTPUTS, OUTPUTS[3]))
def test_filters_at_zero_go(kind, padding, settings, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    shape = (3, *CONVOLUTIONS[kind], 2)
    layer = kind(4, 2, padding=padding, **settings)
    model = around(layer, shape, dense=5)
    silence(layer.cell, 1, 2)
    small, _ = compacted(model, x_of(2, *shape), tolerance, tmp_path)
    # Padding differs from constants that are not 0, so that they stay.
    inputs = 3 if padding == "valid" else 5
    assert sizes(small.layers[2].cell) == (inputs, 2)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: layers.LSTM(6, stateful=True), "batch to batch"),
        (
            lambda: layers.RNN([layers.LSTMCell(6), layers.GRUCell(4)]),
            "one recurrent layer for each",
        ),
        (lambda: layers.RNN(layers.GRUCell(6)), "`GRU`"),
        (
            lambda: layers.SpectralNormalization(layers.Dense(6)),
            "`wrapper.layer`",
        ),
    ],
)
def test_what_stays_whole_says_what_would_free_it(layer, words):
    inputs = keras.Input(batch_shape=(3, 5, 4))
    x = layers.Dense(6, "sigmoid", name="before")(inputs)
    model = filled(keras.Model(inputs, layers.Dense(2)(layer()(x))))
    zero(model.get_layer("before").kernel, ..., [0, 3])
    small, compaction = kreg.compact(model, return_compaction=True)
    assert small.count_params() == model.count_params()
    ((reason, count),) = entry(compaction, "before").kept.items()
    assert count == 2
    assert words in reason


# In each step

IMAGE, STEPS, FEATURES = (4, 4, 3), (4, 3), (3,)
INSIDE = {
    "dense": (lambda: layers.Dense(8, "relu"), FEATURES, [(4, 8), (8,)]),
    "convolution": (lambda: layers.Conv2D(8, 2), IMAGE, [(2, 2, 4, 8), (8,)]),
    "groups": (
        lambda: layers.Conv2D(12, 2, groups=2),
        IMAGE,
        [(2, 2, 2, 12), (12,)],
    ),
    "depthwise": (
        lambda: layers.DepthwiseConv2D(2),
        IMAGE,
        [(2, 2, 4, 1), (4,)],
    ),
    "batch": (lambda: layers.BatchNormalization(), IMAGE, [(4,)] * 4),
    "recurrent": (lambda: layers.SimpleRNN(5), STEPS, [(4, 5), (5, 5), (5,)]),
    "both_ways": (
        lambda: layers.Bidirectional(layers.SimpleRNN(5)),
        STEPS,
        [(4, 5), (5, 5), (5,)] * 2,
    ),
    "flatten": (layers.Flatten, IMAGE, []),
    "pooling": (layers.GlobalMaxPooling2D, IMAGE, []),
    "reshape": (lambda: layers.Reshape((16, -1)), IMAGE, []),
}


@pytest.mark.parametrize("name", few_of(INSIDE, "dense", "groups", "batch"))
@pytest.mark.parametrize("steps", few_of([3, None], 3))
def test_a_layer_in_each_step_gets_smaller(name, steps, tmp_path):
    inside, shape, expected = INSIDE[name]
    if steps is None and name in ("recurrent", "both_ways"):
        pytest.skip("TensorFlow maps no loop over steps")
    layer = layers.TimeDistributed(inside())
    model = around(layer, (steps, *shape))
    small, _ = compacted(model, x_of(2, 3, *shape), 1e-5, tmp_path)
    found = [tuple(w.shape) for w in small.layers[2].weights]
    assert found == expected
    assert small.count_params() < model.count_params()


def test_units_in_each_step_go(tmp_path):
    layer = layers.TimeDistributed(layers.Dense(8, "relu"), name="steps")
    model = around(layer, (3, 4))
    zero(layer.layer.kernel, ..., [0, 5])
    zero(model.layers[-1].kernel, [1, 2])
    small, compaction = compacted(model, x_of(2, 3, 4), 1e-5, tmp_path)
    assert small.get_layer("steps").layer.kernel.shape == (4, 4)
    found = entry(compaction, "steps")
    assert (found.units_before, found.units_after) == (8, 4)
