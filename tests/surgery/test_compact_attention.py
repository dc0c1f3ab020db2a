"""Attention layers: which heads and widths go, and that outputs stay.

Every layer has 4 query heads; their keys and values are 6 wide. It reads 12
channels and has 12 units, unless a test says otherwise.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops
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
from kreg._keras_private import ATTENTION_PROJECTIONS

every_precision = pytest.mark.parametrize("precision", PRECISIONS)
ALL = slice(None)


def weights_of(layer):
    """The kernels and biases of an attention layer, by their projection."""
    return {
        name: (part.kernel, part.bias)
        for name, attribute in ATTENTION_PROJECTIONS.items()
        if (part := getattr(layer, attribute, None)) is not None
    }


def sizes(model):
    """Inputs, heads and width of the queries; value width; units."""
    kernels = weights_of(model.get_layer("attention"))
    _, width, *units = kernels["output"][0].shape
    return (*kernels["query"][0].shape, width, *units)


def none_dead(model):
    pass


def dead_output_of_a_head(model):
    zero(weights_of(model.get_layer("attention"))["output"][0], 0)


def dead_values_of_a_head(model):
    zero(weights_of(model.get_layer("attention"))["value"][0], ALL, 2)


def dead_query_width(model):
    kernel, bias = weights_of(model.get_layer("attention"))["query"]
    zero(kernel, ..., 1)
    if bias is not None:
        zero(bias, ..., 1)


def dead_key_width(model):
    """The bias of a key is the same at all positions: softmax ignores it."""
    zero(weights_of(model.get_layer("attention"))["key"][0], ..., 3)


def dead_value_width(model):
    zero(weights_of(model.get_layer("attention"))["value"][0], ..., 2)
    zero(weights_of(model.get_layer("attention"))["output"][0], ALL, 4)


def dead_units(model):
    zero(weights_of(model.get_layer("attention"))["output"][0], ..., [1, 2, 7])
    zero(model.get_layer("logits").kernel, [4, 5])


def constant_inputs(model):
    zero(model.get_layer("before").kernel, ..., [0, 5])


def dead_projections(model):
    kernels = weights_of(model.get_layer("attention"))
    for name in ("query", "key", "value"):
        zero(kernels[name][0])


def dead_output(model):
    zero(weights_of(model.get_layer("attention"))["output"][0])


def much_dead(model):
    for kill in (
        dead_output_of_a_head,
        dead_values_of_a_head,
        dead_query_width,
        dead_key_width,
        dead_value_width,
        dead_units,
        constant_inputs,
    ):
        kill(model)


PATTERNS = {
    none_dead: (12, 4, 6, 6, 12),
    dead_output_of_a_head: (12, 3, 6, 6, 12),
    dead_values_of_a_head: (12, 3, 6, 6, 12),
    dead_query_width: (12, 4, 5, 6, 12),
    dead_key_width: (12, 4, 5, 6, 12),
    dead_value_width: (12, 4, 6, 4, 12),
    dead_units: (12, 4, 6, 6, 7),
    constant_inputs: (10, 4, 6, 6, 12),
    dead_projections: (1, 1, 1, 1, 1),
    dead_output: (1, 1, 1, 1, 1),
    much_dead: (10, 2, 4, 4, 7),
}


def attending(call=None, shape=(5, 8), kind=layers.MultiHeadAttention, **more):
    """A model: a Dense layer, attention called by `call`, three logits."""
    heads = {"num_heads": 4, "key_dim": 6}
    if kind is layers.GroupQueryAttention:
        heads = {
            "num_query_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 6,
        }
    attention = kind(**heads, name="attention", **more)
    inputs = keras.Input(shape)
    x = layers.Dense(12, "tanh", name="before")(inputs)
    found = call(attention, x, inputs) if call else attention(x, x)
    first, *scores = keras.tree.flatten(found)
    logits = layers.Dense(3, name="logits")(first)
    return filled(keras.Model(inputs, [logits, *scores]))


@every_precision
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kill", few_of(PATTERNS, none_dead, much_dead))
def test_what_matters_to_no_output_goes(kill, use_bias, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    model = attending(use_bias=use_bias)
    kill(model)
    small, _ = compacted(model, x_of(3, 5, 8), tolerance, tmp_path)
    assert sizes(small) == PATTERNS[kill]


def others(attention, x, inputs):
    keys = layers.Dense(7, "relu")(inputs)
    return attention(x, layers.Dense(10, "relu")(inputs), keys)


def with_mask(mask):
    return lambda attention, x, _: attention(x, x, attention_mask=mask)


# From the first position a mask hides all others.
MASK = np.tril(np.ones((1, 5, 5), bool), -1)
MASK_OF_HEADS = np.random.default_rng(0).uniform(size=(1, 4, 5, 5)) > 0.5
GRID, OUTPUT = (3, 4, 8), (10, 2, 4, 4, 7)
CALLS = {
    "others": (others, {}, (5, 8), OUTPUT),
    "causal": (
        lambda a, x, _: a(x, x, use_causal_mask=True),
        {},
        (5, 8),
        OUTPUT,
    ),
    "mask": (with_mask(MASK), {}, (5, 8), OUTPUT),
    # Where Keras computes each weight, those of the first position are 0, and
    # values that are constant do not pass there.
    "mask_dropout": (
        with_mask(MASK),
        {"dropout": 0.2},
        (5, 8),
        (10, 3, 4, 5, 7),
    ),
    "mask_of_heads": (with_mask(MASK_OF_HEADS), {}, (5, 8), (10, 4, 4, 4, 7)),
    "scores": (
        lambda a, x, _: a(x, x, return_attention_scores=True),
        {},
        (5, 8),
        (10, 4, 4, 4, 7),
    ),
    "dropout": (None, {"dropout": 0.3}, (5, 8), OUTPUT),
    "axes": (None, {"attention_axes": 2}, GRID, OUTPUT),
    "two_axes": (None, {}, GRID, OUTPUT),
    "value_width": (None, {"value_dim": 7}, (5, 8), (10, 2, 4, 5, 7)),
    "output_shape": (None, {"output_shape": 9}, (5, 8), (10, 2, 4, 4, 4)),
    "keys_as_values": (
        lambda a, x, inputs: a(x, layers.Dense(9)(inputs), x),
        {},
        (5, 8),
        OUTPUT,
    ),
}


@every_precision
@pytest.mark.parametrize("name", few_of(CALLS, "mask_dropout", "scores"))
def test_heads_go_however_they_are_called(name, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    call, arguments, shape, expected = CALLS[name]
    model = attending(call, shape, **arguments)
    much_dead(model)
    small, _ = compacted(model, x_of(3, *shape), tolerance, tmp_path)
    assert sizes(small) == expected


def test_an_output_of_several_axes_stays_but_heads_go(tmp_path):
    model = attending(output_shape=(3, 4))
    dead_output_of_a_head(model)
    dead_values_of_a_head(model)
    small, _ = compacted(model, x_of(3, 5, 8), 1e-5, tmp_path)
    assert sizes(small) == (12, 2, 6, 6, 3, 4)


@pytest.mark.parametrize("kind", [layers.MultiHeadAttention, None])
@pytest.mark.parametrize("dropout", few_of([0.0, 0.2], 0.2))
@pytest.mark.filterwarnings("ignore:Layer '.*was passed an input with a mask")
def test_heads_go_where_tokens_are_masked(kind, dropout, tmp_path):
    ids = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 12, mask_zero=True)(ids)
    if kind is None:
        attention = layers.GroupQueryAttention(
            6, 6, 3, dropout=dropout, name="attention"
        )
    else:
        attention = kind(4, 6, dropout=dropout, name="attention")
    x = layers.LSTM(4)(attention(x, x))
    model = filled(keras.Model(ids, layers.Dense(3)(x)))
    kernels = weights_of(attention)
    zero(kernels["output"][0], [0, 1])
    zero(kernels["value"][0], ..., 2, 3)
    tokens = np.random.default_rng(0).integers(1, 11, (6, 7))
    tokens[:, 5:] = 0
    tokens[0] = 0
    small, _ = compacted(model, tokens, 1e-5, tmp_path)
    before = kernels["output"][0].shape[0]
    assert sizes(small)[1] == before - 2


def test_a_gate_of_the_values_goes_with_its_heads(tmp_path):
    try:
        model = attending(use_gate=True)
    except ValueError:
        pytest.skip("this Keras has no gates")
    much_dead(model)
    small, _ = compacted(model, x_of(3, 5, 8), 1e-5, tmp_path)
    if keras.backend.backend() == "jax":
        # Keras reshapes gated values there as if they were as wide as keys, so
        # a model with other widths does not run, and this one stays whole.
        assert sizes(small) == (12, 4, 6, 6, 12)
        return
    # A gate makes constant values vary, so that only those that are 0 go.
    assert sizes(small) == (10, 3, 4, 5, 7)


def test_a_layer_that_is_called_twice_loses_what_matters_to_neither(tmp_path):
    def call(attention, x, inputs):
        x = attention(x, x)
        return layers.Add()([x, attention(x, layers.Dense(12)(inputs))])

    model = attending(call)
    dead_output_of_a_head(model)
    dead_values_of_a_head(model)
    small, _ = compacted(model, x_of(3, 5, 8), 1e-5, tmp_path)
    assert sizes(small) == (12, 2, 6, 6, 12)


def test_a_residual_loses_channels_through_attention(tmp_path):
    model = attending(lambda a, x, _: layers.Add()([x, a(x, x)]))
    zero(model.get_layer("before").kernel, ..., [0, 5])
    zero(model.get_layer("before").bias, [0, 5])
    zero(weights_of(model.get_layer("attention"))["output"][0], ..., [0, 5, 6])
    small, _ = compacted(model, x_of(3, 5, 8), 1e-5, tmp_path)
    assert sizes(small) == (10, 4, 6, 6, 10)


def test_several_heads_stay_two_wide(tmp_path):
    """Keras on TensorFlow adds a bias of shape (3, 1) along 3 positions."""
    model = attending(shape=(3, 8))
    kernels = weights_of(model.get_layer("attention"))
    dead_output_of_a_head(model)
    zero(kernels["key"][0], ..., slice(1, None))
    zero(kernels["output"][0], ALL, slice(1, None))
    small, _ = compacted(model, x_of(3, 3, 8), 1e-5, tmp_path)
    assert sizes(small) == (12, 3, 2, 2, 12)


def test_heads_of_width_one_stay_and_say_why(tmp_path):
    model = attending(lambda a, x, _: layers.MultiHeadAttention(3, 1)(x, x))
    zero(model.get_layer("before").kernel, ..., [0, 5])
    small, compaction = compacted(model, x_of(3, 5, 8), 1e-5, tmp_path)
    assert small.count_params() == model.count_params()
    assert "width" in next(iter(entry(compaction, "before").kept))


def test_constants_that_nothing_reads_make_no_bias(tmp_path):
    model = attending(use_bias=False)
    dead_output_of_a_head(model)
    small, _ = compacted(model, x_of(3, 5, 8), 1e-5, tmp_path)
    assert not small.get_layer("attention").get_config()["use_bias"]


# Query heads that share keys and values


def dead_set(model):
    zero(weights_of(model.get_layer("attention"))["value"][0], ALL, 1)


def one_query_head_of_each_set(model):
    zero(weights_of(model.get_layer("attention"))["output"][0], [0, 2, 5])


def one_query_head(model):
    zero(weights_of(model.get_layer("attention"))["output"][0], 0)


def all_query_heads_of_a_set(model):
    zero(weights_of(model.get_layer("attention"))["output"][0], [2, 3])


def key_widths_alone(model):
    zero(weights_of(model.get_layer("attention"))["key"][0], ..., [1, 4])


def both_widths(model):
    key_widths_alone(model)
    zero(weights_of(model.get_layer("attention"))["output"][0], ALL, [0, 2, 3])


SETS = {
    none_dead: (12, 6, 3, 6, 12),
    dead_set: (12, 4, 2, 6, 12),
    one_query_head_of_each_set: (12, 3, 3, 6, 12),
    one_query_head: (12, 6, 3, 6, 12),
    all_query_heads_of_a_set: (12, 4, 2, 6, 12),
    key_widths_alone: (12, 6, 3, 6, 12),
    both_widths: (12, 6, 3, 4, 12),
    # What it reads and what it makes are equally wide, so neither gets smaller
    # alone.
    constant_inputs: (12, 6, 3, 6, 12),
    dead_output: (1, 1, 1, 1, 1),
}


@every_precision
@pytest.mark.parametrize(
    "kill", few_of(SETS, one_query_head_of_each_set, both_widths)
)
def test_sets_of_query_heads_go_and_stay_equal(kill, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    model = attending(kind=layers.GroupQueryAttention)
    kill(model)
    small, _ = compacted(model, x_of(3, 5, 8), tolerance, tmp_path)
    kernels = weights_of(small.get_layer("attention"))
    inputs, heads, width = kernels["query"][0].shape
    found = inputs, heads, kernels["key"][0].shape[1], width
    assert (*found, kernels["output"][0].shape[-1]) == SETS[kill]


@pytest.mark.thorough
def test_dead_channels_of_both_ends_go_in_equal_numbers(tmp_path):
    model = attending(kind=layers.GroupQueryAttention)
    constant_inputs(model)
    zero(model.get_layer("logits").kernel, [1, 2, 3])
    small, compaction = compacted(model, x_of(3, 5, 8), 1e-5, tmp_path)
    kernels = weights_of(small.get_layer("attention"))
    assert kernels["query"][0].shape[0] == 10
    assert kernels["output"][0].shape[-1] == 10
    found = entry(compaction, "attention")
    assert (found.units_before, found.units_after) == (12, 10)


def test_values_that_are_constant_pass_into_the_bias():
    model = attending()
    dead_values_of_a_head(model)
    kernels = weights_of(model.get_layer("attention"))
    small = kreg.compact(model)
    bias = ops.convert_to_numpy(kernels["value"][1])[2]
    kernel = ops.convert_to_numpy(kernels["output"][0])[2]
    before = ops.convert_to_numpy(kernels["output"][1])
    after = weights_of(small.get_layer("attention"))["output"][1]
    np.testing.assert_allclose(
        ops.convert_to_numpy(after), before + bias @ kernel, rtol=1e-5
    )
