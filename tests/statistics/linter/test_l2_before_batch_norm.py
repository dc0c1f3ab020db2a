"""L2 on kernels whose scale a BatchNormalization cancels."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from linter_models import (
    L2,
    RNG,
    bn,
    codes,
    dense,
    finding,
    functional,
    nested,
    rules,
    run,
)

import kreg
from kreg.statistics import check


def shared(before, after):
    return functional(lambda x: after(before(before(x))))


BEFORE_NORM = {
    "sequential": lambda: nested(dense(), bn()),
    "grown": lambda: grown(),
    "no_input": lambda: built(keras.Sequential([dense(), bn()])),
    "functional": lambda: functional(lambda x: bn()(dense()(x))),
    "keras_l2": lambda: nested(dense(kernel_regularizer=L2(0.1)), bn()),
    "first_of_nested": lambda: nested(dense(), nested(bn(), layers.ReLU())),
    "last_of_nested": lambda: nested(nested(dense()), bn()),
    "in_nested": lambda: nested(nested(dense(), bn()), layers.Dense(2)),
    "deep": lambda: nested(nested(nested(dense())), nested(nested(bn()))),
    "branches": lambda: functional(lambda x: two_norms(dense()(x))),
    "through_identity": lambda: functional(lambda x: twice(dense()(x))),
    "conv": lambda: nested(
        layers.Reshape((4, 1)),
        layers.Conv1D(3, 2, kernel_regularizer=kreg.L2(0.1), name="before"),
        bn(),
    ),
    "depthwise": lambda: nested(
        layers.Reshape((2, 2)),
        layers.DepthwiseConv1D(
            2, depthwise_regularizer=kreg.L2(0.1), name="before"
        ),
        bn(),
    ),
}
NOT_BEFORE_NORM = {
    "activation": lambda: nested(dense(activation="relu"), bn()),
    "other_layer_between": lambda: nested(dense(), layers.ReLU(), bn()),
    "layer_norm": lambda: nested(dense(), layers.LayerNormalization()),
    "two_consumers": lambda: functional(lambda x: skip(dense()(x))),
    "is_an_output": lambda: functional(lambda x: both(dense()(x))),
    "nested_is_an_output": lambda: functional(
        lambda x: both(nested(dense())(x))
    ),
    "frozen_norm": lambda: nested(dense(), bn(trainable=False)),
    "inference": lambda: functional(lambda x: bn()(dense()(x), training=False)),
    "nested_inference": lambda: functional(
        lambda x: nested(dense(), bn())(x, training=False)
    ),
    "used_twice": lambda: shared(dense(), bn()),
    "no_l2": lambda: nested(dense(kernel_regularizer=None), bn()),
    "bias_only": lambda: nested(
        dense(kernel_regularizer=None, bias_regularizer=L2(0.1)), bn()
    ),
    "activity": lambda: nested(dense(activity_regularizer=L2(0.1)), bn()),
    "strength_0": lambda: nested(dense(kernel_regularizer=kreg.L2(0.0)), bn()),
    "after_norm": lambda: nested(bn(), dense()),
    "beside_l1": lambda: nested(
        dense(kernel_regularizer=kreg.L1L2(0.1, 0.1)), bn()
    ),
    "subclass": lambda: built(Subclass()),
    "own_call": lambda: nested(Centred(4, kernel_regularizer=L2(0.1)), bn()),
}


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = keras.Sequential([keras.Input((4,)), dense(), bn()])

    def call(self, x):
        return self.block(x, training=False)


class Centred(layers.Dense):
    def call(self, x):
        return super().call(x) + x


def grown():
    model = nested(dense())
    model.add(bn())
    model.add(layers.Dense(1))
    return model


def built(model):
    model(np.ones((2, 4), "float32"))
    return model


def two_norms(x):
    return layers.Add()([bn()(x), bn(name="other")(x)])


def twice(x):
    """Through a model that gives back what it is given, called twice."""
    identity = functional(lambda inputs: inputs)
    return bn()(identity(identity(x)))


def skip(x):
    return layers.Add()([bn()(x), x])


def both(x):
    return [bn()(x), x]


@pytest.mark.parametrize("name", BEFORE_NORM)
def test_batch_norm_takes_out_the_scale(name):
    model = BEFORE_NORM[name]()
    assert rules(model) == ["l2-before-batch-norm"]
    assert finding(model, "l2-before-batch-norm").path.endswith("before/kernel")
    x = RNG.normal(size=(16, 4)).astype("float32")
    before = ops.convert_to_numpy(model(x, training=True))
    for variable in model.weights:
        if variable.path.endswith("before/kernel"):
            variable.assign(3.0 * variable)
    after = ops.convert_to_numpy(model(x, training=True))
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("name", NOT_BEFORE_NORM)
def test_scale_is_not_taken_out(name):
    assert check(NOT_BEFORE_NORM[name]()) == ()


def test_fix_for_l2_before_batch_norm():
    model = BEFORE_NORM["last_of_nested"]()
    take_off, gamma = codes(finding(model, "l2-before-batch-norm"))
    run(take_off, model)
    assert check(model) == ()
    assert run(gamma, model) is model.layers[1].gamma
