"""Convolutions with groups: whole groups go, and those that stay are equal.

Each reads 12 channels, from a convolution named `before`; another one, named
`after`, reads its filters.
"""

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

BACKEND = keras.backend.backend()
WINDOWS = {
    layers.Conv1D: ((9,), 3),
    layers.Conv2D: ((6, 6), 3),
    layers.Conv3D: ((4, 4, 4), 2),
}


def grouped(kind, groups, filters, activation="relu", **arguments):
    """A model around a convolution with groups, and an input of its shape."""
    positions, window = WINDOWS[kind]
    inputs = keras.Input((*positions, 3))
    x = kind(12, 1, activation=activation, name="before")(inputs)
    x = kind(
        filters,
        window,
        groups=groups,
        activation=activation,
        name="grouped",
        **arguments,
    )(x)
    x = layers.Flatten()(kind(5, 1, activation="relu", name="after")(x))
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    return model, x_of(3, *positions, 3)


def shape_of(model):
    """Inputs of a group, filters, and groups."""
    layer = model.get_layer("grouped")
    return (*layer.kernel.shape[-2:], layer.groups)


def inputs_of_different_groups(model):
    zero(model.get_layer("before").kernel, ..., [1, 4, 11])


def filters_of_different_groups(model):
    filters = model.get_layer("grouped").filters
    zero(model.get_layer("grouped").kernel, ..., 0)
    zero(model.get_layer("after").kernel, ..., filters // 2, slice(None))
    zero(model.get_layer("after").kernel, ..., filters - 1, slice(None))


def a_group(model):
    layer = model.get_layer("grouped")
    size = layer.filters // layer.groups
    zero(layer.kernel, ..., slice(size, 2 * size))


def all_filters(model):
    zero(model.get_layer("grouped").kernel)


# What is dead of 3 groups with 4 inputs and 4 filters each, and what is left.
PATTERNS = {
    inputs_of_different_groups: (3, 12, 3),
    filters_of_different_groups: (4, 9, 3),
    a_group: (4, 8, 2),
    all_filters: (1, 1, 1),
}
# As many groups as channels, with a filter each: a depthwise convolution.
OF_EACH_CHANNEL = {
    inputs_of_different_groups: (1, 9, 9),
    filters_of_different_groups: (1, 9, 9),
    a_group: (1, 11, 11),
    all_filters: (1, 1, 1),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", few_of(WINDOWS, layers.Conv2D))
@pytest.mark.parametrize("kill", PATTERNS)
def test_groups_get_smaller_together(kill, kind, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    model, x = grouped(kind, 3, 12)
    kill(model)
    small, _ = compacted(model, x, tolerance, tmp_path)
    assert shape_of(small) == PATTERNS[kill]


@pytest.mark.parametrize("kind", few_of(WINDOWS, layers.Conv2D))
@pytest.mark.parametrize("kill", OF_EACH_CHANNEL)
def test_a_group_of_one_channel_goes_with_it(kill, kind, tmp_path):
    model, x = grouped(kind, 12, 12)
    kill(model)
    small, _ = compacted(model, x, 1e-5, tmp_path)
    assert shape_of(small) == OF_EACH_CHANNEL[kill]


def test_several_filters_of_a_channel_go_in_equal_numbers(tmp_path):
    model, x = grouped(layers.Conv2D, 12, 36)
    kernel = model.get_layer("after").kernel
    zero(kernel, ..., np.arange(12) * 3 + np.arange(12) % 3, slice(None))
    small, _ = compacted(model, x, 1e-5, tmp_path)
    assert shape_of(small) == (1, 24, 12)


@pytest.mark.parametrize("use_bias", few_of([True, False], False))
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_constants_fold_except_at_padding(padding, use_bias, tmp_path):
    model, x = grouped(
        layers.Conv2D, 4, 8, "sigmoid", padding=padding, use_bias=use_bias
    )
    zero(model.get_layer("before").kernel, ..., [0, 3, 6, 9])
    small, _ = compacted(model, x, 1e-5, tmp_path)
    inputs = 2 if padding == "valid" else 3
    assert shape_of(small) == (inputs, 8, 4)


def test_groups_that_lose_unequal_numbers_keep_more_and_say_why(tmp_path):
    model, x = grouped(layers.Conv2D, 3, 12)
    zero(model.get_layer("grouped").kernel, ..., [0, 1, 4])
    small, compaction = compacted(model, x, 1e-5, tmp_path)
    assert shape_of(small) == (4, 12, 3)
    ((reason, count),) = entry(compaction, "grouped").kept.items()
    assert count == 3
    assert "equal numbers" in reason


def test_a_residual_around_groups_stays_aligned(tmp_path):
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(12, 1, name="before")(inputs)
    y = layers.Conv2D(
        12, 3, groups=3, padding="same", activation="tanh", name="grouped"
    )(x)
    y = layers.Conv2D(5, 1, name="after")(layers.Add()([x, y]))
    model = filled(keras.Model(inputs, layers.Flatten()(y)))
    for layer in ("before", "grouped"):
        zero(model.get_layer(layer).kernel, ..., [4, 5, 6, 7])
        zero(model.get_layer(layer).bias, [4, 5, 6, 7])
    small, _ = compacted(model, x_of(3, 6, 6, 3), 1e-5, tmp_path)
    assert shape_of(small) == (4, 8, 2)


@pytest.mark.skipif(
    BACKEND == "tensorflow", reason="TensorFlow takes channels last on a CPU"
)
def test_channels_may_come_first(tmp_path):
    inputs = keras.Input((3, 6, 6))
    first = {"data_format": "channels_first"}
    x = layers.Conv2D(12, 1, activation="relu", name="before", **first)(inputs)
    x = layers.Conv2D(12, 3, groups=3, name="grouped", **first)(x)
    x = layers.Conv2D(5, 1, name="after", **first)(x)
    model = filled(keras.Model(inputs, layers.Flatten()(x)))
    a_group(model)
    inputs_of_different_groups(model)
    small, _ = compacted(model, x_of(3, 3, 6, 6), 1e-5, tmp_path)
    assert shape_of(small) == (3, 8, 2)
