"""Penalties on the heads of attention that a model's own code computes."""

import keras
import numpy as np
import pytest
from heads import QUICK, X, Y, check_heads, group_numbers
from keras import layers, ops
from surgery.handmade import same
from thorough import few_of

import kreg

HEADS, WIDTH, SIZE = 3, 4, 6
UNITS = HEADS * WIDTH


def serializable(cls):
    return keras.saving.register_keras_serializable("traced_heads")(cls)


def attended(q, k, v):
    """Attention, with heads along the axis before the last two."""
    scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) / WIDTH**0.5
    return ops.matmul(ops.softmax(scores, axis=-1), v)


def joined(x):
    x = ops.transpose(x, (0, 2, 1, 3))
    return ops.reshape(x, (-1, x.shape[1], UNITS))


def split(x, count=HEADS):
    x = ops.reshape(x, (-1, x.shape[1], count, x.shape[2] // count))
    return ops.transpose(x, (0, 2, 1, 3))


class Own(layers.Layer):
    """Attention of one's own, whose attributes do not tell the heads."""

    sizes = (UNITS, UNITS, UNITS)

    def __init__(self, **options):
        super().__init__(**options)
        self.parts = [
            layers.Dense(size, name=f"part_{i}")
            for i, size in enumerate(self.sizes)
        ]
        self.last = layers.Dense(SIZE, name="output")

    def build(self, shape):
        for part in self.parts:
            part.build(shape)
        self.last.build((*shape[:-1], UNITS))

    def call(self, x):
        return self.last(self.attention(*(part(x) for part in self.parts)))


@serializable
class Separate(Own):
    def attention(self, q, k, v):
        return joined(attended(split(q), split(k), split(v)))


@serializable
class WidthsFirst(Own):
    """The units of a head are not neighbours."""

    def split(self, x):
        x = ops.reshape(x, (-1, x.shape[1], WIDTH, HEADS))
        return ops.transpose(x, (0, 3, 1, 2))

    def attention(self, q, k, v):
        y = attended(self.split(q), self.split(k), self.split(v))
        y = ops.transpose(y, (0, 2, 3, 1))
        return ops.reshape(y, (-1, y.shape[1], UNITS))


@serializable
class Packed(Own):
    """One kernel for queries, keys and values, as in GPT."""

    sizes = (3 * UNITS,)

    def attention(self, qkv):
        return joined(attended(*map(split, ops.split(qkv, 3, axis=-1))))


@serializable
class PackedByHead(Own):
    """One kernel, in which each head has its query, key and value."""

    sizes = (3 * UNITS,)

    def attention(self, qkv):
        x = ops.reshape(qkv, (-1, qkv.shape[1], HEADS, 3 * WIDTH))
        x = ops.transpose(x, (0, 2, 1, 3))
        return joined(attended(*ops.split(x, 3, axis=-1)))


@serializable
class Causal(Own):
    """With a mask, and dropout of the attention weights."""

    def __init__(self, **options):
        super().__init__(**options)
        self.softmax = layers.Softmax()
        self.dropout = layers.Dropout(0.1)

    def attention(self, q, k, v):
        q, k, v = split(q), split(k), split(v)
        scores = ops.einsum("bhqd,bhkd->bhqk", q, k) * 0.5
        place = ops.arange(ops.shape(scores)[-1])
        is_past = place[:, None] >= place[None, :]
        scores = ops.where(is_past, scores, -1e9)
        weights = self.dropout(self.softmax(scores))
        return joined(ops.einsum("bhqk,bhkd->bhqd", weights, v))


@serializable
class Rotated(Own):
    """The halves of queries and keys are turned by their positions."""

    def turned(self, x):
        one, other = ops.split(x, 2, axis=-1)
        angle = np.arange(5.0, dtype="float32")[:, None] / 7.0
        sine, cosine = np.sin(angle), np.cos(angle)
        return ops.concatenate(
            [one * cosine - other * sine, other * cosine + one * sine], axis=-1
        )

    def attention(self, q, k, v):
        q, k = self.turned(split(q)), self.turned(split(k))
        return joined(attended(q, k, split(v)))


@serializable
class OneOperation(Own):
    def attention(self, q, k, v):
        q, k, v = (
            ops.reshape(x, (-1, x.shape[1], HEADS, WIDTH)) for x in (q, k, v)
        )
        y = ops.dot_product_attention(q, k, v)
        return ops.reshape(y, (-1, y.shape[1], UNITS))


@serializable
class OneKeyHead(Own):
    """All queries share a key and a value."""

    sizes = (UNITS, WIDTH, WIDTH)

    def attention(self, q, k, v):
        return joined(attended(split(q), split(k, 1), split(v, 1)))


@serializable
class OwnWeights(layers.Layer):
    """Kernels with an axis of heads, in the layer itself."""

    def build(self, shape):
        self.kernels = [
            self.add_weight(shape=(HEADS, SIZE, WIDTH), name=name)
            for name in ("q", "k", "v")
        ]
        self.q, self.k, self.v = self.kernels
        self.last = self.add_weight(shape=(HEADS, WIDTH, SIZE), name="output")

    def call(self, x):
        q, k, v = (
            ops.einsum("btd,hdw->bhtw", x, kernel)
            for kernel in (self.q, self.k, self.v)
        )
        return ops.einsum("bhtw,hwd->btd", attended(q, k, v), self.last)


def around(layer):
    x = keras.Input((5, SIZE))
    return keras.Model(x, layer(x))


def of_layers():
    """A functional model that is no layer of its own."""
    x = keras.Input((5, SIZE))
    q, k, v = (
        layers.Permute((2, 1, 3))(
            layers.Reshape((5, HEADS, WIDTH))(layers.Dense(UNITS)(x))
        )
        for _ in range(3)
    )
    y = layers.Permute((2, 1, 3))(attended(q, k, v))
    y = layers.Reshape((5, UNITS))(y)
    return keras.Model(x, layers.Dense(SIZE, name="output")(y))


@serializable
class Subclass(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.attention = Separate()

    def call(self, x):
        return x + self.attention(x)


def subclass():
    model = Subclass()
    model(X[:2])
    return model


PAIR = 2 * SIZE * UNITS + 2 * UNITS  # two kernels and biases
MODELS = {
    "separate": (lambda: around(Separate()), HEADS, 2 * PAIR - UNITS),
    "widths_first": (lambda: around(WidthsFirst()), HEADS, 2 * PAIR - UNITS),
    "packed": (lambda: around(Packed()), HEADS, 2 * PAIR - UNITS),
    "packed_by_head": (
        lambda: around(PackedByHead()),
        HEADS,
        2 * PAIR - UNITS,
    ),
    "causal": (lambda: around(Causal()), HEADS, 2 * PAIR - UNITS),
    "rotated": (lambda: around(Rotated()), HEADS, 2 * PAIR - UNITS),
    "one_operation": (lambda: around(OneOperation()), HEADS, 2 * PAIR - UNITS),
    "one_key_head": (lambda: around(OneKeyHead()), HEADS, PAIR - UNITS),
    "own_weights": (lambda: around(OwnWeights()), HEADS, 4 * SIZE * UNITS),
    "of_layers": (of_layers, HEADS, 2 * PAIR - UNITS),
    "subclass": (subclass, HEADS, 2 * PAIR - UNITS),
}
"""Models, and how many heads and how many entries of weights in them."""


def attached(name, strength=0.1):
    make, heads, entries = MODELS[name]
    model = make()
    penalty = kreg.GroupLasso(strength, "heads")
    kreg.attach(model, penalty, sample=X[:2] if name == "subclass" else None)
    return model, heads, entries


@pytest.mark.parametrize("name", few_of(MODELS, "packed_by_head", "subclass"))
def test_groups_are_the_heads(name):
    model, heads, entries = attached(name)
    (tie,) = kreg.statistics.read(model).ties
    assert tie.units == heads
    assert tie.size == entries
    check_heads(model, X[:2])


@pytest.mark.parametrize("name", few_of(MODELS, "widths_first", "one_key_head"))
def test_a_head_that_is_zero_goes(name):
    model, heads, entries = attached(name)
    rng = np.random.default_rng(0)
    for variable in model.trainable_weights:
        w = rng.normal(size=variable.shape)
        if getattr(variable.regularizer, "part", None) is not None:
            w[group_numbers(variable) == 1] = 0.0
        variable.assign(w)
    sample = X[:2] if name == "subclass" else None
    small = kreg.compact(model, sample=sample)
    assert same(small, model, X)
    gone = model.count_params() - small.count_params()
    assert gone >= entries // heads


@pytest.mark.slow
def test_training_makes_heads_zero():
    keras.utils.set_random_seed(0)
    model, heads, _ = attached("packed", 0.02)
    sgd = keras.optimizers.SGD(0.05, momentum=0.5)
    model.compile(kreg.ProximalOptimizer(sgd), "mse", **QUICK)
    target = kreg.TargetSparsity(0.3)
    model.fit(X, Y, epochs=40, batch_size=16, verbose=0, callbacks=[target])
    (tie,) = kreg.statistics.read(model).ties
    assert tie.dead_units == 1
    small = kreg.compact(model)
    assert same(small, model, X)
    assert model.count_params() - small.count_params() >= tie.size // heads


def test_ties_are_restored_from_a_file(tmp_path):
    model, _, _ = attached("packed_by_head")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    (before,) = kreg.statistics.read(model).ties
    (after,) = kreg.statistics.read(loaded).ties
    assert (after.units, after.size) == (before.units, before.size)
    assert after.penalty == pytest.approx(before.penalty, rel=1e-6)


def test_a_subclass_without_a_sample_asks_for_one():
    with pytest.raises(ValueError, match="`sample` is needed"):
        kreg.attach(subclass(), kreg.GroupLasso(0.1, "heads"))
