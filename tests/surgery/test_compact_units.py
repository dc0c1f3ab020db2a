"""Which units go and which stay, on models with parts dead by hand."""

import keras
import numpy as np
import pytest
from keras import layers
from surgery.handmade import (
    entry,
    filled,
    ignore,
    kill,
    mlp,
    network,
    same,
    units,
    x_of,
)
from surgery.random_weights import outputs

import kreg

# Constants


def test_a_constant_goes_into_the_next_bias():
    model = mlp()
    kill(model.get_layer("first"), 2, bias=0.7)
    small = kreg.compact(model)
    row = model.get_layer("second").get_weights()[0][2]
    np.testing.assert_allclose(
        small.get_layer("second").get_weights()[1],
        model.get_layer("second").get_weights()[1] + 0.7 * row,
        rtol=1e-6,
    )
    assert units(small, "first") == 7


def test_a_layer_without_a_bias_gets_one_for_a_constant():
    model = mlp(activation="sigmoid", use_bias=False)
    kill(model.get_layer("first"), 2)
    small = kreg.compact(model)
    row = model.get_layer("second").get_weights()[0][2]
    assert small.get_layer("second").use_bias
    assert not small.get_layer("first").use_bias
    np.testing.assert_allclose(
        small.get_layer("second").get_weights()[1], 0.5 * row, rtol=1e-6
    )


def test_a_layer_without_a_bias_gets_none_for_a_constant_of_zero():
    model = mlp(use_bias=False)
    kill(model.get_layer("first"), 2)
    small = kreg.compact(model)
    assert not small.get_layer("second").use_bias
    assert units(small, "first") == 7


@pytest.mark.parametrize("padding", ["same", "causal"])
def test_constants_before_padding_are_merged_into_one(padding):
    model = network(
        (9, 2),
        layers.Conv1D(6, 2, activation="tanh", name="first"),
        layers.Conv1D(4, 3, padding=padding, name="second"),
        layers.Flatten(),
    )
    kill(model.get_layer("first"), 0, 3, 4, bias=[0.3, -0.9, 0.5])
    small, compaction = kreg.compact(model, return_compaction=True)
    found = entry(compaction, "first")
    assert (found.units_before, found.units_after) == (6, 4)
    assert sum(found.kept.values()) == 1
    assert any("padding" in reason for reason in found.kept)
    assert same(small, model, x_of(5, 9, 2))


def test_constants_of_zero_before_padding_go():
    model = network(
        (9, 2),
        layers.Conv1D(6, 2, activation="relu", name="first"),
        layers.Conv1D(4, 3, padding="same", name="second"),
        layers.Flatten(),
    )
    kill(model.get_layer("first"), 0, 3, 4, bias=-0.5)
    small = kreg.compact(model)
    assert units(small, "first") == 3
    assert same(small, model, x_of(5, 9, 2))


@pytest.mark.parametrize(
    "between",
    [
        lambda: layers.ZeroPadding2D(1),
        lambda: layers.DepthwiseConv2D(3, padding="same"),
    ],
)
def test_constants_kept_by_padding_are_said(between):
    model = network(
        (6, 6, 2),
        layers.Conv2D(5, 1, activation="sigmoid", name="first"),
        between(),
        layers.Conv2D(4, 2, name="second"),
        layers.Flatten(),
    )
    kill(model.get_layer("first"), 1, 2)
    small, compaction = kreg.compact(model, return_compaction=True)
    found = entry(compaction, "first")
    dead_now = 5 - 3 - (found.units_before - found.units_after)
    assert sum(found.kept.values()) == dead_now
    assert same(small, model, x_of(5, 6, 6, 2))


def test_a_gamma_of_zero_makes_a_channel_constant():
    model = network(
        (8, 8, 2),
        layers.Conv2D(5, 3, name="first"),
        layers.BatchNormalization(name="normalization"),
        layers.Conv2D(4, 3, name="second"),
        layers.GlobalAveragePooling2D(),
    )
    normalization = model.get_layer("normalization")
    gamma, *rest = normalization.get_weights()
    gamma[[1, 4]] = 0.0
    normalization.set_weights([gamma, *rest])
    small = kreg.compact(model)
    assert units(small, "first") == 3
    assert small.get_layer("normalization").gamma.shape == (3,)
    assert same(small, model, x_of(5, 8, 8, 2))


def test_a_factor_of_zero_makes_a_product_constant():
    inputs = keras.Input((6,))
    a = layers.Dense(5, "tanh", name="a")(inputs)
    b = layers.Dense(5, "relu", name="b")(inputs)
    x = layers.Multiply()([a, b])
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    kill(model.get_layer("b"), 0, 3, bias=-1.0)
    small = kreg.compact(model)
    assert units(small, "a") == units(small, "b") == 3
    assert same(small, model, x_of(5, 6))


def test_units_fed_by_constants_alone_are_constant():
    model = mlp()
    first, second = model.get_layer("first"), model.get_layer("second")
    kill(first, 0, 1, bias=0.5)
    kernel, bias = second.get_weights()
    kernel[2:, 3] = 0.0  # reads the two dead units alone
    second.set_weights([kernel, bias])
    small = kreg.compact(model)
    assert (units(small, "first"), units(small, "second")) == (6, 7)
    assert same(small, model, x_of(5, 6))


# Units that nothing reads


def test_a_unit_that_nothing_reads_goes_though_it_varies():
    model = mlp()
    ignore(model.get_layer("second"), 0, 5)
    small = kreg.compact(model)
    assert units(small, "first") == 6
    assert same(small, model, x_of(5, 6))


def test_a_unit_that_one_of_two_layers_reads_stays():
    inputs = keras.Input((6,))
    x = layers.Dense(5, "relu", name="first")(inputs)
    heads = [layers.Dense(2, name=name)(x) for name in ("a", "b")]
    model = filled(keras.Model(inputs, heads))
    ignore(model.get_layer("a"), 0, 1)
    ignore(model.get_layer("b"), 1, 2)
    small = kreg.compact(model)
    assert units(small, "first") == 4
    assert same(small, model, x_of(5, 6))


def test_what_feeds_only_unread_units_goes_too():
    model = mlp()
    second = model.get_layer("second")
    kernel, bias = second.get_weights()
    kernel[4, 1:] = 0.0  # only unit 0 of the second layer reads unit 4
    second.set_weights([kernel, bias])
    ignore(model.get_layer("logits"), 0)
    small = kreg.compact(model)
    assert (units(small, "first"), units(small, "second")) == (7, 7)
    assert same(small, model, x_of(5, 6))


def test_residual_blocks_that_only_feed_each_other_go():
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="first")(inputs)
    mixers = []
    for i in range(3):
        mixers.append(layers.Dense(5, "tanh", name=f"block_{i}"))
        x = layers.Add()([x, mixers[-1](x)])
    model = filled(keras.Model(inputs, layers.Dense(2, name="logits")(x)))
    ignore(model.get_layer("logits"), 1, 4)
    for mixer in mixers:
        kernel, bias = mixer.get_weights()
        kernel[np.ix_([1, 4], [0, 2, 3])] = 0.0  # they read each other alone
        mixer.set_weights([kernel, bias])
    small = kreg.compact(model)
    assert units(small, "first") == units(small, "block_2") == 3
    assert same(small, model, x_of(5, 6))


def test_both_sides_of_an_addition_must_be_dead():
    inputs = keras.Input((6,))
    a = layers.Dense(5, name="a")(inputs)
    b = layers.Dense(5, name="b")(inputs)
    x = layers.Add()([a, b])
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    kill(model.get_layer("a"), 0, 1, 2)
    kill(model.get_layer("b"), 2, 3)
    small, compaction = kreg.compact(model, return_compaction=True)
    assert units(small, "a") == units(small, "b") == 4
    assert sum(entry(compaction, "a").kept.values()) == 2
    assert sum(entry(compaction, "b").kept.values()) == 1
    assert same(small, model, x_of(5, 6))


# What must stay


@pytest.mark.parametrize("what", ["dead", "unread", "dead with a constant"])
def test_one_unit_of_each_layer_stays(what):
    model = mlp()
    if what == "unread":
        ignore(model.get_layer("second"), *range(8))
    else:
        bias = 0.5 if "constant" in what else 0.0
        kill(model.get_layer("first"), *range(8), bias=bias)
    small = kreg.compact(model)
    assert units(small, "first") == 1
    assert same(small, model, x_of(5, 6))


def test_a_model_of_zeros_keeps_one_unit_a_layer():
    model = mlp()
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    small = kreg.compact(model)
    assert units(small, "first") == units(small, "second") == 1
    assert not np.any(outputs(small, x_of(5, 6))[0])


def test_dead_outputs_of_the_model_stay_and_are_said():
    model = mlp()
    kill(model.get_layer("logits"), 1)
    small, compaction = kreg.compact(model, return_compaction=True)
    assert small.output_shape == model.output_shape
    ((reason, count),) = entry(compaction, "logits").kept.items()
    assert count == 1
    assert "output" in reason


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        (lambda: layers.LayerNormalization(name="barrier"), "barrier"),
        (lambda: layers.GroupNormalization(2, name="barrier"), "barrier"),
        (lambda: layers.Softmax(name="barrier"), "barrier"),
    ],
)
def test_the_layer_that_keeps_a_dead_unit_is_named(layer, word):
    model = network((6,), layers.Dense(8, name="first"), layer())
    kill(model.get_layer("first"), 1, 2, 5)
    _, compaction = kreg.compact(model, return_compaction=True)
    ((reason, count),) = entry(compaction, "first").kept.items()
    assert count == 3
    assert word in reason
    assert reason in str(compaction)


def test_grouped_convolutions_keep_their_inputs():
    model = network(
        (8, 8, 2),
        layers.Conv2D(4, 3, name="first"),
        layers.Conv2D(4, 3, groups=2, name="grouped"),
        layers.GlobalMaxPooling2D(),
    )
    kill(model.get_layer("first"), 1)
    small, compaction = kreg.compact(model, return_compaction=True)
    assert any("grouped" in r for r in entry(compaction, "first").kept)
    assert same(small, model, x_of(5, 8, 8, 2))


def test_a_model_with_nothing_dead_comes_back_equal():
    model = mlp()
    small, compaction = kreg.compact(model, return_compaction=True)
    for a, b in zip(small.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert compaction.parameters_after == compaction.parameters_before
    assert all(not layer.kept for layer in compaction.layers)
    assert small is not model


@pytest.mark.parametrize(("live", "stay"), [(1, 4), (4, 4), (5, 8), (9, 10)])
def test_round_to_keeps_a_multiple_or_all(live, stay):
    model = mlp(10)
    kill(model.get_layer("first"), *range(10 - live))
    small, compaction = kreg.compact(model, round_to=4, return_compaction=True)
    assert units(small, "first") == stay
    assert sum(entry(compaction, "first").kept.values()) == stay - live
    assert same(small, model, x_of(5, 6))


def test_round_to_holds_through_joins():
    inputs = keras.Input((6,))
    a = layers.Dense(16, "relu", name="a")(inputs)
    b = layers.Dense(16, "relu", name="b")(inputs)
    x = layers.Concatenate()([layers.Add()([a, b]), a])
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    kill(model.get_layer("a"), *range(7))
    kill(model.get_layer("b"), *range(9))
    small = kreg.compact(model, round_to=8)
    assert units(small, "a") == units(small, "b") == 16
    kill(model.get_layer("a"), *range(8))
    small = kreg.compact(model, round_to=8)
    assert units(small, "a") == units(small, "b") == 8
    assert same(small, model, x_of(5, 6))


@pytest.mark.parametrize("value", [0, -1, 2.5, "8", True])
def test_round_to_is_checked(value):
    with pytest.raises((TypeError, ValueError), match=r"`round_to`.*Received"):
        kreg.compact(mlp(), round_to=value)
