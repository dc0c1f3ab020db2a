"""Widths of keys, queries and values of attention written by operations."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import (
    PRECISIONS,
    compacted,
    filled,
    in_precision,
    x_of,
    zero,
)
from thorough import few_of

HEADS, WIDTH = 3, 4


def einsum_heads(x, name):
    return layers.EinsumDense(
        "btc,chd->bthd", (None, HEADS, WIDTH), bias_axes="hd", name=name
    )(x)


def split_heads(x, name):
    x = layers.Dense(HEADS * WIDTH, name=name)(x)
    return ops.reshape(x, (-1, 6, HEADS, WIDTH))


def by_einsum(query, key, value):
    scores = ops.einsum("bqhd,bkhd->bhqk", query, key) * 0.5
    return ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), value)


def by_matmul(query, key, value):
    query, key, value = (
        ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value)
    )
    scores = ops.matmul(query, ops.swapaxes(key, -1, -2))
    weights = ops.softmax(scores / WIDTH**0.5 + later())
    return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))


def later():
    return np.triu(np.full((6, 6), -1e9), 1).astype(keras.config.floatx())


def by_one_operation(query, key, value):
    return ops.dot_product_attention(query, key, value)


def by_scaled_operation(query, key, value):
    return ops.dot_product_attention(query, key, value, scale=0.3)


ATTENTIONS = (by_einsum, by_matmul, by_one_operation, by_scaled_operation)


def attention(heads, attend):
    x = keras.Input((6, 8))
    mixed = attend(*(heads(x, name) for name in ("query", "key", "value")))
    mixed = ops.reshape(mixed, (-1, 6, HEADS * WIDTH))
    y = layers.Dense(8, name="out")(mixed)
    return filled(keras.Model(x, layers.Dense(2)(y + x)))


def without_width(model, *names, place=1):
    """No head has anything at a place of its width."""
    for name in names:
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        kernel.reshape(-1, HEADS, WIDTH)[..., place] = 0.0
        bias.reshape(HEADS, WIDTH)[:, place] = 0.0
        layer.set_weights([kernel, bias])


def width(model, name):
    return model.get_layer(name).count_params() // (8 + 1) // HEADS


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("attend", few_of(ATTENTIONS, by_matmul))
@pytest.mark.parametrize("heads", [einsum_heads, split_heads])
@pytest.mark.parametrize("dead", ["query", "key"])
def test_a_width_of_queries_and_keys_goes(
    heads, attend, dead, precision, tmp_path
):
    in_precision(precision[0])
    model = attention(heads, attend)
    without_width(model, dead)
    if attend not in (by_einsum, by_matmul):
        # Here values have the width of the queries.
        without_width(model, "value", place=2)
    small, _ = compacted(model, x_of(5, 6, 8), precision[1], tmp_path)
    for name in ("query", "key"):
        assert width(small, name) == WIDTH - 1


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("attend", few_of([by_einsum, by_matmul], by_einsum))
def test_a_width_of_values_goes(attend, precision, tmp_path):
    in_precision(precision[0])
    model = attention(split_heads, attend)
    without_width(model, "value")
    small, _ = compacted(model, x_of(5, 6, 8), precision[1], tmp_path)
    assert width(small, "value") == WIDTH - 1
    assert width(small, "query") == width(small, "key") == WIDTH


@pytest.mark.parametrize("attend", few_of(ATTENTIONS, by_einsum))
def test_a_width_that_is_a_constant_in_one_of_them_stays(attend, tmp_path):
    model = attention(einsum_heads, attend)
    without_width(model, "query")
    bias = np.array(model.get_layer("query").bias)
    bias[:, 1] = 2.0  # it weights the keys
    model.get_layer("query").bias.assign(bias)
    small, _ = compacted(model, x_of(5, 6, 8), 1e-5, tmp_path)
    assert width(small, "query") == WIDTH


def one_head(attend):
    """Attention with one head, whose scores have no channels."""
    x = keras.Input((6, 8))
    query, key, value = (
        layers.Dense(5, name=name)(x) for name in ("query", "key", "value")
    )
    y = layers.Dense(8, name="out")(attend(query, key, value))
    return filled(keras.Model(x, layers.Dense(2)(y + x)))


def one_by_matmul(query, key, value):
    scores = ops.matmul(query, ops.swapaxes(key, -1, -2))
    return ops.matmul(ops.softmax(scores * 0.3), value)


def one_by_einsum(query, key, value):
    scores = ops.einsum("btd,bsd->bts", query, key)
    return ops.einsum("bts,bsd->btd", ops.softmax(scores), value)


def one_by_layer(query, key, value):
    return layers.Attention()([query, value, key])


def one_by_scaled_layer(query, key, value):
    return layers.Attention(use_scale=True)([query, value, key])


def one_causal(query, key, value):
    y, _ = layers.Attention()(
        [query, value, key],
        use_causal_mask=True,
        return_attention_scores=True,
    )
    return y


ONES = (
    *(one_by_matmul, one_by_einsum),
    *(one_by_layer, one_by_scaled_layer, one_causal),
)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("attend", few_of(ONES, one_by_matmul, one_by_layer))
@pytest.mark.parametrize("dead", ["query", "key"])
def test_widths_of_a_single_head_go(attend, dead, precision, tmp_path):
    in_precision(precision[0])
    model = one_head(attend)
    for name, place in ((dead, 1), ("value", 3)):
        zero(model.get_layer(name).kernel, ..., place)
    zero(model.get_layer(dead).bias, 1)  # that of the values is folded
    small, _ = compacted(model, x_of(5, 6, 8), precision[1], tmp_path)
    for name in ("query", "key", "value"):
        assert small.get_layer(name).units == 4


def test_features_of_a_similarity_go(tmp_path):
    inputs = [keras.Input((6,)), keras.Input((6,))]
    one, other = (
        layers.Dense(8, "relu", name=name)(x)
        for name, x in zip(("one", "other"), inputs, strict=True)
    )
    model = filled(keras.Model(inputs, ops.einsum("bd,bd->b", one, other)))
    zero(model.get_layer("one").kernel, ..., [2, 4])
    zero(model.get_layer("one").bias, [2, 4])
    small, _ = compacted(model, [x_of(5, 6), x_of(5, 6)], 1e-5, tmp_path)
    assert small.get_layer("one").units == small.get_layer("other").units == 6


@keras.saving.register_keras_serializable(package="widths")
class Scaled(layers.Layer):
    """Attention with one head, whose width is an argument."""

    def __init__(self, dim, **options):
        super().__init__(**options)
        self.dim = dim
        self.query, self.key = (
            layers.Dense(dim, name=name) for name in ("query", "key")
        )

    def build(self, shape):
        self.query.build(shape)
        self.key.build(shape)
        self.built = True

    def call(self, x):
        scores = ops.matmul(self.query(x), ops.swapaxes(self.key(x), 1, 2))
        return ops.matmul(ops.softmax(scores / self.dim**0.5), x)

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}


def test_a_width_stays_where_code_may_scale_by_it(tmp_path):
    x = keras.Input((6, 8))
    model = filled(keras.Model(x, layers.Dense(2)(Scaled(4)(x))))
    query = model.layers[1].query
    zero(query.kernel, ..., 1)
    zero(query.bias, 1)
    small, compaction = compacted(model, x_of(5, 6, 8), 1e-5, tmp_path)
    assert small.count_params() == model.count_params()
    (row,) = [r for r in compaction.layers if r.path.endswith("/query")]
    assert "scaled" in row.reasons
