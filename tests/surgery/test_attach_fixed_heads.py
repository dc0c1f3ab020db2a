"""Penalties on heads that cannot go: the reasons that are given."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kreg

HEADS, WIDTH, SIZE = 4, 3, 6
UNITS = HEADS * WIDTH


class Own(layers.Layer):
    """Attention of one's own, in which each head has a number of its own.

    Args:
        names: the names of the attributes with the projections.
    """

    def __init__(self, names=("one", "two", "three", "four"), **options):
        super().__init__(**options)
        self.names = names
        for name, size in zip(names, (UNITS, UNITS, UNITS, SIZE), strict=True):
            setattr(self, name, layers.Dense(size))

    def build(self, shape):
        *parts, last = (getattr(self, name) for name in self.names)
        for part in parts:
            part.build(shape)
        last.build((*shape[:-1], UNITS))

    def call(self, x):
        *parts, last = (getattr(self, name) for name in self.names)
        q, k, v = (
            ops.reshape(part(x), (-1, x.shape[1], HEADS, WIDTH))
            for part in parts
        )
        scores = ops.einsum("bqhw,bkhw->bhqk", q, k)
        slopes = np.arange(1.0, HEADS + 1, dtype="float32")[:, None, None]
        scores = ops.multiply(scores, slopes)
        y = ops.einsum("bhqk,bkhw->bqhw", ops.softmax(scores), v)
        return last(ops.reshape(y, (-1, x.shape[1], UNITS)))


class TwoAxes(Own):
    """Heads lie along two axes."""

    def call(self, x):
        *parts, last = (getattr(self, name) for name in self.names)
        q, k, v = (
            ops.reshape(part(x), (-1, x.shape[1], 2, 2, WIDTH))
            for part in parts
        )
        scores = ops.softmax(ops.einsum("bqnhw,bknhw->bnhqk", q, k))
        y = ops.einsum("bnhqk,bknhw->bqnhw", scores, v)
        return last(ops.reshape(y, (-1, x.shape[1], UNITS)))


ROLES = ("query", "key", "value", "output_dense")
SLOPES = r"heads must stay, as `own/multiply\w*` combines it with fixed numbers"
REASONS = {
    "of_a_layer": (lambda: Own(ROLES, name="own"), rf"type Own\): {SLOPES}"),
    "of_other_code": (lambda: Own(name="own"), f"with {SLOPES}"),
    "unknown_layer": (
        lambda: TwoAxes(ROLES),
        "no attribute for the number of its heads, and the calls of the model "
        "show no heads that can go",
    ),
    "unknown": (TwoAxes, "no heads of attention that the model's calls show"),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_refusal_says_why_heads_stay(name):
    make, reason = REASONS[name]
    x = keras.Input((5, SIZE))
    model = keras.Model(x, make()(x))
    with pytest.raises(ValueError, match=reason):
        kreg.attach(model, kreg.GroupLasso(0.1, "heads"))


def test_a_warning_names_heads_that_stay_beside_others():
    x = keras.Input((5, SIZE))
    y = layers.MultiHeadAttention(3, 4)(x, x)
    model = keras.Model(x, Own(name="own")(y))
    with pytest.warns(UserWarning, match=SLOPES):
        kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
