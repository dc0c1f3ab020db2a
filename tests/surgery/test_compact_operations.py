"""Compaction of models that are written with operations and EinsumDense."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, same, x_of, zero
from thorough import few_of

import kreg


def saved_and_loaded(model, path):
    model.save(path)
    return keras.saving.load_model(path)


def einsum_attention():
    """Three heads of width 4, written with EinsumDense and einsum."""

    def heads(name, bias="hd"):
        return layers.EinsumDense(
            "btc,chd->bthd", (None, 3, 4), bias_axes=bias, name=name
        )

    x = keras.Input((None, 8))
    query, key, value = (heads(n)(x) for n in ("query", "key", "value"))
    scores = ops.einsum("bqhd,bkhd->bhqk", query, key) * 0.5
    mixed = ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), value)
    out = layers.EinsumDense(
        "bqhd,hdc->bqc", (None, 8), bias_axes="c", name="out"
    )
    return keras.Model(x, layers.Dense(2)(out(mixed) + x))


def reshaped_attention():
    """The same with Dense layers, reshape and transpose."""

    def split(x):
        return ops.transpose(ops.reshape(x, (-1, 6, 3, 4)), (0, 2, 1, 3))

    x = keras.Input((6, 8))
    query, key, value = (
        split(layers.Dense(12, name=name)(x))
        for name in ("query", "key", "value")
    )
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * 0.5
    mixed = ops.matmul(ops.softmax(scores), value)
    joined = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, 6, 12))
    return keras.Model(
        x, layers.Dense(2)(layers.Dense(8, name="out")(joined) + x)
    )


@pytest.mark.parametrize("make", [einsum_attention, reshaped_attention])
@pytest.mark.parametrize("dead", ["value", "out"])
def test_a_head_goes(make, dead, tmp_path):
    model = filled(make())
    layer = model.get_layer(dead)
    kernel = np.array(layer.kernel)
    if dead == "out":
        kernel.reshape(3, 4, 8)[1] = 0.0
    else:  # the biases of its values stay, and are folded into that of `out`
        kernel.reshape(8, 3, 4)[:, 1] = 0.0
    layer.kernel.assign(kernel)
    small = kreg.compact(model)
    x = x_of(5, 6, 8)
    assert same(small, model, x)
    assert same(saved_and_loaded(small, tmp_path / "small.keras"), model, x)
    for name in ("query", "key", "value"):
        assert small.get_layer(name).count_params() == (8 + 1) * 8
    assert small.get_layer("out").count_params() == (8 + 1) * 8


def test_an_einsum_layer_gets_a_bias_for_constants(tmp_path):
    x = keras.Input((5, 8))
    y = layers.EinsumDense(
        "btc,chd->bthd", (5, 2, 6), bias_axes="hd", activation="relu", name="up"
    )(x)
    y = layers.EinsumDense("bthd,hdc->btc", (5, 8), name="down")(y)
    model = filled(keras.Model(x, layers.Dense(2)(y)))
    up = model.get_layer("up")
    kernel, bias = up.get_weights()
    kernel[..., 2:4] = 0.0
    up.set_weights([kernel, np.abs(bias)])
    small = kreg.compact(model)
    x = x_of(4, 5, 8)
    assert same(small, model, x)
    assert same(saved_and_loaded(small, tmp_path / "small.keras"), model, x)
    assert small.get_layer("up").kernel.shape == (8, 2, 4)
    assert small.get_layer("down").bias.shape == (8,)


@keras.saving.register_keras_serializable(package="operations")
def own_gelu(x):
    return 0.5 * x * (1.0 + ops.tanh(0.8 * (x + 0.045 * x**3)))


def units_left_of(activation):
    """Compacts a layer of 8 units, 3 of them dead; how many of them stay."""
    up = layers.Dense(8, activation, name="up")
    model = filled(keras.Sequential([keras.Input((6,)), up, layers.Dense(2)]))
    kernel, bias = up.get_weights()
    kernel[:, :3] = 0.0
    up.set_weights([kernel, bias])
    small = kreg.compact(model)
    assert same(small, model, x_of(4, 6))
    return small.get_layer("up").units


@keras.saving.register_keras_serializable(package="operations")
def leaky(x):
    return ops.where(x > 0, x, 0.1 * x)


@keras.saving.register_keras_serializable(package="operations")
def within_one(x):
    inside = ops.logical_and(x >= -1.0, ops.logical_not(x > 1.0))
    return ops.where(inside, x, ops.sign(x))


@pytest.mark.parametrize("activation", [own_gelu, leaky, within_one])
def test_units_with_an_activation_of_ones_own_go(activation):
    assert units_left_of(activation) == 5


COMPARISONS = {
    "equal": lambda x: ops.where(ops.equal(x, 0.5), 2.0, x),
    "not_equal": lambda x: ops.where(ops.not_equal(x, 0.5), x, 2.0),
    "greater": lambda x: ops.where(x > 0.1, x, 0.3 * x),
    "greater_equal": lambda x: ops.where(x >= 0.5, 1.0, x),
    "less": lambda x: ops.where(x < 0.5, x, 3.0),
    "less_equal": lambda x: ops.where(x <= 0.5, -1.0, x),
    "of_two": lambda x: ops.where(x > ops.square(x), x, -x),
}


@pytest.mark.parametrize("name", few_of(COMPARISONS, "greater", "of_two"))
def test_constants_are_compared(name):
    up = layers.Dense(8)
    x = keras.Input((6,))
    down = layers.Dense(2)(COMPARISONS[name](up(x)))
    model = filled(keras.Model(x, down))
    kernel, bias = up.get_weights()
    kernel[:, :3] = 0.0
    bias[:3] = 0.5, -0.5, 0.0
    up.set_weights([kernel, bias])
    small = kreg.compact(model)
    assert same(small, model, x_of(4, 6))
    assert small.layers[1].units == 5


EVEN = np.arange(5)[:, None] % 2 == 0
BESIDE_ARRAYS = {
    "number_last": lambda x: ops.where(EVEN, x, -1e3),
    "number_first": lambda x: ops.where(EVEN, 0.0, x),
    "two_numbers": lambda x: x * ops.where(EVEN, 1.0, 2.0),
    "tensor": lambda x: ops.where(ops.convert_to_tensor(EVEN), x, 3.0),
}


@pytest.mark.parametrize("name", few_of(BESIDE_ARRAYS, "number_last"))
def test_an_array_and_a_number_beside_a_tensor(name):
    up = layers.Dense(8)
    x = keras.Input((5, 6))
    y = layers.Flatten()(BESIDE_ARRAYS[name](up(x)))
    model = filled(keras.Model(x, layers.Dense(2)(y)))
    kernel = model.layers[-1].kernel
    zero(kernel, np.arange(40) % 8 < 3)
    small = kreg.compact(model)
    assert same(small, model, x_of(4, 5, 6))
    assert small.layers[1].units == 5


@keras.saving.register_keras_serializable(package="operations")
def centered(x):
    return x - ops.mean(x, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="operations")
def by_width(x):
    return x / x.shape[-1]


@pytest.mark.parametrize("activation", [centered, by_width])
def test_an_activation_that_mixes_units_keeps_them(activation):
    assert units_left_of(activation) == 8


POSITIONS = {
    "one_channel": lambda x: layers.Flatten()(layers.Dense(1)(x)),
    "largest": lambda x: ops.max(x, axis=-1),
    "product": lambda x: ops.squeeze(ops.matmul(x, ops.ones((4, 1))), -1),
}


@pytest.mark.parametrize("first", few_of([False, True], False))
@pytest.mark.parametrize("name", few_of(POSITIONS, "one_channel"))
def test_positions_stay_beside_channels_that_go(name, first, tmp_path):
    x = keras.Input((5, 4))
    deep = layers.Dense(8, "relu", name="deep")
    parts = [layers.Flatten()(deep(x)), POSITIONS[name](x)]
    joined = layers.Concatenate()(parts[::-1] if first else parts)
    model = filled(keras.Model(x, layers.Dense(2, name="last")(joined)))
    kernel, bias = deep.get_weights()
    kernel[:, :3] = 0.0
    deep.set_weights([kernel, bias])
    small = kreg.compact(model)
    assert same(small, model, x_of(3, 5, 4))
    path = tmp_path / "small.keras"
    assert same(saved_and_loaded(small, path), model, x_of(3, 5, 4))
    assert small.get_layer("last").kernel.shape[0] == 5 * 5 + 5


LAMBDAS = {
    "scaled": (lambda: layers.Lambda(lambda x: 2.0 * ops.tanh(x)), 5),
    "arguments": (
        lambda: layers.Lambda(lambda x, by: x * by, arguments={"by": 3.0}),
        5,
    ),
    "named": (lambda: layers.Lambda(own_gelu), 5),
    "mixing": (lambda: layers.Lambda(centered), 8),
    "shape": (lambda: layers.Lambda(lambda x: 2.0 * x, output_shape=(8,)), 8),
}


@pytest.mark.parametrize("name", few_of(LAMBDAS, "arguments", "shape"))
def test_units_before_a_lambda(name):
    make, count = LAMBDAS[name]
    up = layers.Dense(8, name="up")
    hidden = [up, make(), layers.Dense(2)]
    model = filled(keras.Sequential([keras.Input((6,)), *hidden]))
    kernel, bias = up.get_weights()
    kernel[:, :3] = 0.0
    up.set_weights([kernel, bias])
    small = kreg.compact(model)
    assert same(small, model, x_of(4, 6))
    assert small.get_layer("up").units == count


DOTS = {
    "vectors": ((), layers.Dot, {"axes": 1}, 3),
    "matrices": ((5,), layers.Dot, {"axes": 2}, 3),
    "attended": ((5,), layers.Dot, {"axes": (1, 1)}, 6),
    "normalized": ((), layers.Dot, {"axes": 1, "normalize": True}, 8),
}


@pytest.mark.parametrize("name", few_of(DOTS, "vectors", "attended"))
def test_two_towers_lose_what_their_dot_does_not_need(name, tmp_path):
    places, cls, options, count = DOTS[name]
    one, other = layers.Dense(8, name="one"), layers.Dense(8, name="other")
    x = keras.Input((*places, 4))
    y = cls(**options)([one(x), other(x)])
    model = filled(keras.Model(x, layers.Dense(2)(layers.Flatten()(y))))
    for layer, dead in ((one, [0, 1]), (other, [2, 3, 4])):
        kernel, bias = layer.get_weights()
        kernel[:, dead], bias[dead] = 0.0, 0.0
        layer.set_weights([kernel, bias])
    small = kreg.compact(model)
    inputs = x_of(3, *places, 4)
    assert same(small, model, inputs)
    path = tmp_path / "small.keras"
    assert same(saved_and_loaded(small, path), model, inputs)
    assert small.get_layer("one").units == count
