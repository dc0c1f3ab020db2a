"""Penalties on heads whose queries, keys and values are made by one weight."""

import keras
import numpy as np
import pytest
from heads import X, group_numbers
from keras import layers, ops
from surgery.handmade import same
from thorough import few_of

import kreg

HEADS, WIDTH, SIZE = 4, 6, 6


def serializable(cls):
    return keras.saving.register_keras_serializable("stacked_heads")(cls)


def unstacked(x, axis):
    return ops.unstack(x, axis=axis)


def indexed(x, axis):
    x = ops.moveaxis(x, axis, 0)
    return [x[0], x[1], x[2]]


def squeezed(x, axis):
    return [ops.squeeze(y, axis) for y in ops.split(x, 3, axis=axis)]


def taken(x, axis):
    return [ops.take(x, i, axis=axis) for i in range(3)]


def sliced(x, axis):
    x = ops.moveaxis(x, axis, -1)
    return [ops.squeeze(x[..., i : i + 1], -1) for i in range(3)]


def attended(q, k, v):
    """Attention, with heads along the axis before the last two."""
    scores = ops.matmul(q, ops.swapaxes(k, -1, -2))
    return ops.matmul(ops.softmax(scores), v)


class Stacked(layers.Layer):
    """Attention with a stacked weight of queries, keys and values.

    Args:
        apart: the name of the function that takes them apart.
    """

    def __init__(self, apart="unstacked", **options):
        super().__init__(**options)
        self.apart = apart

    def build(self, shape):
        self.stacked = self.add_weight(shape=self.shape, name="stacked")
        self.last = self.add_weight(shape=(HEADS, WIDTH, SIZE), name="last")

    def call(self, x):
        y = ops.einsum(f"btd,{self.letters}->bnhtw", x, self.stacked)
        y = attended(*globals()[self.apart](y, 1))
        return ops.einsum("bhtw,hwd->btd", y, self.last)

    def get_config(self):
        return {**super().get_config(), "apart": self.apart}


@serializable
class First(Stacked):
    """The three are along the first axis of the weight."""

    letters, shape, axis = "nhdw", (3, HEADS, SIZE, WIDTH), 1


@serializable
class Second(Stacked):
    letters, shape, axis = "dnhw", (SIZE, 3, HEADS, WIDTH), 2


@serializable
class Last(Stacked):
    letters, shape, axis = "dhwn", (SIZE, HEADS, WIDTH, 3), 1


@serializable
class Halves(Stacked):
    """Only every other entry of queries and keys is used."""

    letters, shape, axis = "ndhw", (3, SIZE, HEADS, WIDTH), 2

    def call(self, x):
        y = ops.einsum(f"btd,{self.letters}->nbhtw", x, self.stacked)
        q, k, v = y[0], y[1], y[2]
        y = attended(q[..., ::2], k[..., ::2], v)
        return ops.einsum("bhtw,hwd->btd", y, self.last)


@serializable
class ByLayers(Stacked):
    """The weights are in `EinsumDense` layers."""

    axis = 2

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.parts = [
            layers.EinsumDense("btd,dnhw->bnhtw", (3, HEADS, None, WIDTH)),
            layers.EinsumDense("bhtw,hwd->btd", (None, SIZE)),
        ]

    def build(self, shape):
        one, other = self.parts
        one.build(shape)
        other.build((shape[0], HEADS, shape[1], WIDTH))

    @property
    def stacked(self):
        return self.parts[0].kernel

    @property
    def last(self):
        return self.parts[1].kernel

    def call(self, x):
        one, other = self.parts
        return other(attended(*globals()[self.apart](one(x), 1)))


def split(x, axis):
    return ops.split(x, 3, axis=axis)


def split_array(x, axis):
    return ops.array_split(x, 3, axis=axis)


def split_transposed(x, axis):
    parts = ops.split(ops.transpose(x, (2, 0, 1)), 3, axis=(axis + 1) % 3)
    return [ops.transpose(part, (1, 2, 0)) for part in parts]


class TakenApart(Stacked):
    """The weight is taken apart, not what is computed with it."""

    def call(self, x):
        apart = globals()[self.apart](self.stacked, self.taken_axis)
        parts = (ops.einsum(f"btd,{self.letters}->bhtw", x, w) for w in apart)
        y = attended(*parts)
        return ops.einsum("bhtw,hwd->btd", y, self.last)


@serializable
class FirstApart(TakenApart):
    letters, shape, axis = "hdw", (3, HEADS, SIZE, WIDTH), 1
    taken_axis = 0


@serializable
class LastApart(TakenApart):
    letters, shape, axis = "dhw", (SIZE, HEADS, WIDTH, 3), 1
    taken_axis = 3


@serializable
class LongWidth(TakenApart):
    """Queries, keys and values share the axis of their widths."""

    letters, shape, axis = "dhw", (SIZE, HEADS, 3 * WIDTH), 1
    taken_axis = 2


@serializable
class LongFirst(TakenApart):
    letters, shape, axis = "wdh", (3 * WIDTH, SIZE, HEADS), 2
    taken_axis = 0


CASES = {
    f"{make.__name__}_{apart.__name__}": (make, apart.__name__)
    for make, apart in [
        (First, unstacked),
        (Second, indexed),
        (Second, squeezed),
        (Second, taken),
        (Second, sliced),
        (Last, unstacked),
        (Last, taken),
        (Halves, indexed),
        (ByLayers, unstacked),
        (ByLayers, squeezed),
        (FirstApart, unstacked),
        (FirstApart, squeezed),
        (LastApart, unstacked),
        (LastApart, squeezed),
        (LongWidth, split),
        (LongWidth, split_array),
        (LongWidth, split_transposed),
        (LongFirst, split),
    ]
}


def attached(name):
    make, apart = CASES[name]
    x = keras.Input((5, SIZE))
    layer = make(apart)
    model = keras.Model(x, layer(x))
    kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    return model, layer


@pytest.mark.parametrize("name", few_of(CASES, "First_unstacked"))
def test_a_stacked_weight_is_in_the_groups_of_its_heads(name):
    _, layer = attached(name)
    for weight, axis in ((layer.stacked, layer.axis), (layer.last, 0)):
        numbers = np.moveaxis(group_numbers(weight), axis, -1)
        assert (numbers == np.arange(HEADS)).all()


@pytest.mark.parametrize("name", few_of(CASES, "Second_taken"))
def test_each_head_that_is_zero_goes(name):
    model, layer = attached(name)
    weights = model.get_weights()
    for head in range(HEADS):
        model.set_weights(weights)
        for variable in (layer.stacked, layer.last):
            w = ops.convert_to_numpy(variable).copy()
            w[group_numbers(variable) == head] = 0.0
            variable.assign(w)
        small = kreg.compact(model)
        assert same(small, model, X)
        removed = model.count_params() - small.count_params()
        assert removed == 4 * SIZE * WIDTH
