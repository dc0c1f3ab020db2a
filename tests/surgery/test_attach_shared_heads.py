"""Penalties on heads of attention in one's own code that share keys."""

import keras
import numpy as np
import pytest
from heads import X, group_numbers
from keras import layers, ops
from surgery.handmade import same
from thorough import few_of

import kreg

HEADS, WIDTH, SIZE = 4, 3, 6
UNITS = HEADS * WIDTH


def serializable(cls):
    return keras.saving.register_keras_serializable("shared_heads")(cls)


def split(x, count):
    x = ops.reshape(x, (-1, x.shape[1], count, WIDTH))
    return ops.transpose(x, (0, 2, 1, 3))


class Shared(layers.Layer):
    """Attention in which several query heads share a key and a value.

    Args:
        key_heads: the number of the key heads.
    """

    def __init__(self, key_heads=2, **options):
        super().__init__(**options)
        self.key_heads = key_heads
        self.times = HEADS // key_heads
        self.parts = [layers.Dense(UNITS, name="part_0")]
        self.parts += [
            layers.Dense(key_heads * WIDTH, name=f"part_{i}") for i in (1, 2)
        ]
        self.last = layers.Dense(SIZE, name="last")

    def build(self, shape):
        for part in self.parts:
            part.build(shape)
        self.last.build((*shape[:-1], UNITS))

    def call(self, x):
        q, k, v = (part(x) for part in self.parts)
        q = split(q, HEADS)
        k, v = (self.spread(split(y, self.key_heads)) for y in (k, v))
        scores = ops.matmul(q, ops.swapaxes(k, -1, -2))
        y = ops.matmul(ops.softmax(scores), v)
        y = ops.transpose(y, (0, 2, 1, 3))
        return self.last(ops.reshape(y, (-1, y.shape[1], UNITS)))

    def get_config(self):
        return {**super().get_config(), "key_heads": self.key_heads}


@serializable
class Repeated(Shared):
    def spread(self, x):
        return ops.repeat(x, self.times, axis=1)


@serializable
class Tiled(Shared):
    def spread(self, x):
        return ops.tile(x, (1, self.times, 1, 1))


@serializable
class Joined(Shared):
    def spread(self, x):
        return ops.concatenate([x] * self.times, axis=1)


@serializable
class Broadcast(Shared):
    def spread(self, x):
        count, size = x.shape[1], x.shape[2]
        x = ops.expand_dims(x, 2) + ops.zeros((self.times, 1, 1))
        return ops.reshape(x, (-1, count * self.times, size, WIDTH))


@serializable
class Stacked(Shared):
    def spread(self, x):
        size = x.shape[2]
        x = ops.stack([x] * self.times, axis=2)
        return ops.reshape(x, (-1, HEADS, size, WIDTH))


@serializable
class OneForAll(Shared):
    def spread(self, x):
        return x


NEXT = [0, 0, 1, 1]
EVERY_OTHER = [0, 1, 0, 1]
CASES = {
    "repeated": (Repeated, 2, NEXT),
    "tiled": (Tiled, 2, EVERY_OTHER),
    "joined": (Joined, 2, EVERY_OTHER),
    "broadcast": (Broadcast, 2, NEXT),
    "stacked": (Stacked, 2, NEXT),
    "not_shared": (Repeated, 4, [0, 1, 2, 3]),
    "one_for_all": (OneForAll, 1, [0, 1, 2, 3]),
}
"""The layer, the number of its key heads, and the group of each query head."""


def attached(name):
    make, key_heads, groups = CASES[name]
    x = keras.Input((5, SIZE))
    layer = make(key_heads)
    model = keras.Model(x, layer(x))
    kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    return model, layer, np.repeat(groups, WIDTH)


@pytest.mark.parametrize("name", few_of(CASES, "tiled", "one_for_all"))
def test_a_key_goes_with_all_query_heads_that_share_it(name):
    _, layer, units = attached(name)
    query, key, value = layer.parts
    for kernel in (query.kernel, layer.last.kernel):
        numbers = group_numbers(kernel)
        numbers = numbers[0] if kernel is query.kernel else numbers[:, 0]
        assert numbers.tolist() == units.tolist()
    for part in (key, value):
        if layer.key_heads == 1:
            assert part.kernel.regularizer is None
        else:
            numbers = group_numbers(part.kernel)[0].tolist()
            wanted = np.repeat(np.arange(layer.key_heads), WIDTH)
            assert numbers == wanted.tolist()


@pytest.mark.parametrize("name", few_of(CASES, "tiled"))
def test_each_group_that_is_zero_goes(name):
    model, _, units = attached(name)
    weights = model.get_weights()
    for group in np.unique(units):
        model.set_weights(weights)
        removed = 0
        for variable in model.trainable_weights:
            if getattr(variable.regularizer, "part", None) is not None:
                w = ops.convert_to_numpy(variable).copy()
                w[group_numbers(variable) == group] = 0.0
                variable.assign(w)
                removed += int((w == 0).sum())
        small = kreg.compact(model)
        assert same(small, model, X)
        assert model.count_params() - small.count_params() == removed
