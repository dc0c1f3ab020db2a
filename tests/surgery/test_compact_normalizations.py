"""Normalizations over several channels: which channels go, exactly."""

import functools

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

DEAD = [0, 1, 2, 5]


def normalized(layer):
    """A Dense layer of 8 units, a normalization of them, three logits."""
    inputs = keras.Input((5, 4))
    x = layer(layers.Dense(8, "tanh", name="before")(inputs))
    return filled(keras.Model(inputs, layers.Dense(3, name="logits")(x)))


def zeros(model):
    zero(model.get_layer("before").kernel, ..., DEAD)
    zero(model.get_layer("before").bias, DEAD)


def constants(model):
    zero(model.get_layer("before").kernel, ..., DEAD)


def unread_constants(model):
    constants(model)
    zero(model.get_layer("logits").kernel, [0, 1, 6])


def scales(model):
    zero(model.layers[2].weights[0], [0, 1, 4])


def all_constant(model):
    zero(model.get_layer("before").kernel)


MAKERS = {
    "rms": layers.RMSNormalization,
    "rms_epsilon": lambda: layers.RMSNormalization(epsilon=0.5),
    "unit": layers.UnitNormalization,
    "layer": layers.LayerNormalization,
    "groups": lambda: layers.GroupNormalization(4),
    "each": lambda: layers.GroupNormalization(-1),
    "one_group": lambda: layers.GroupNormalization(1),
}
# How many of 8 channels stay.
STAY = {
    "rms": {zeros: 4, constants: 8, unread_constants: 6, all_constant: 1},
    "rms_epsilon": {zeros: 4, unread_constants: 6, all_constant: 1},
    "unit": {zeros: 4, constants: 8, unread_constants: 8},
    "layer": {zeros: 8, constants: 8, unread_constants: 8},
    # The channels 0 and 1 are a group, 2 and 5 are not.
    "groups": {zeros: 6, constants: 6, scales: 6, all_constant: 2},
    "each": {zeros: 4, constants: 4, scales: 5, all_constant: 1},
    "one_group": {zeros: 8, constants: 8, all_constant: 8},
}
CASES = [(name, kill) for name, kills in STAY.items() for kill in kills]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("name", "kill"),
    [
        case
        if case[0] in ("rms", "groups")
        else pytest.param(*case, marks=pytest.mark.thorough)
        for case in CASES
    ],
)
def test_channels_go_where_that_is_exact(name, kill, precision, tmp_path):
    dtype, tolerance = precision
    in_precision(dtype)
    model = normalized(MAKERS[name]())
    kill(model)
    small, _ = compacted(model, x_of(3, 5, 4), tolerance, tmp_path)
    assert small.get_layer("before").units == STAY[name][kill]


def test_the_mean_square_is_over_the_channels_before():
    epsilon, scale = 0.25, np.arange(1.0, 9.0)
    layer = layers.RMSNormalization(epsilon=epsilon)
    model = normalized(layer)
    layer.scale.assign(scale)
    zeros(model)
    found = kreg.compact(model).layers[2]
    kept = np.setdiff1d(np.arange(8), DEAD)
    assert found.epsilon == pytest.approx(epsilon * 8 / 4)
    np.testing.assert_allclose(found.scale, scale[kept] * np.sqrt(2), rtol=1e-6)


def test_a_residual_stream_gets_narrower_through_norms(tmp_path):
    inputs = keras.Input((5, 4))
    x = layers.Dense(8, name="before")(inputs)
    for _ in range(2):
        y = layers.RMSNormalization()(x)
        y = layers.MultiHeadAttention(2, 4)(y, y)
        x = layers.Add()([x, y])
        y = layers.Dense(16, "gelu")(layers.RMSNormalization()(x))
        x = layers.Add()([x, layers.Dense(8)(y)])
    x = layers.RMSNormalization()(x)
    model = filled(keras.Model(inputs, layers.Dense(3)(x)))
    for weight in model.weights:
        if weight.shape[-1] == 8 and "scale" not in weight.path:
            zero(weight, ..., DEAD)
    small, _ = compacted(model, x_of(3, 5, 4), 1e-5, tmp_path)
    assert small.get_layer("before").units == 4
    norms = [y for y in small.layers if isinstance(y, layers.RMSNormalization)]
    assert [tuple(y.scale.shape) for y in norms] == [(4,)] * 5


@pytest.mark.parametrize("name", few_of(["layer", "one_group"], "layer"))
def test_a_norm_that_keeps_channels_is_named(name, tmp_path):
    kind = layers.LayerNormalization
    if name == "one_group":
        kind = functools.partial(layers.GroupNormalization, 1)
    model = normalized(kind(name="norm"))
    constants(model)
    _, compaction = compacted(model, x_of(3, 5, 4), 1e-5, tmp_path)
    ((reason, count),) = entry(compaction, "before").kept.items()
    assert count == 4
    assert "norm" in reason
