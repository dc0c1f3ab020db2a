"""Penalties whose groups do not fit a weight are refused by name."""

import keras
import numpy as np
import pytest
from keras import layers

import kreg


class Own(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(
            shape=(shape[-1], 2),
            name="table",
            regularizer=kreg.GroupLasso(0.1, "units"),
        )

    def call(self, x):
        return x @ self.table


def test_layer_of_an_unknown_kind_is_refused_by_name():
    model = keras.Sequential([keras.Input((3,)), Own()])
    with pytest.raises(ValueError, match=r"table`.*not defined.*Own layer"):
        kreg.bind(model)


def test_groups_along_an_axis_that_is_not_there_are_refused():
    layer = layers.Dense(2, kernel_regularizer=kreg.GroupLasso(0.1, (2,)))
    with pytest.raises(ValueError, match=r"kernel`: `groups` must name"):
        kreg.bind(keras.Sequential([keras.Input((3,)), layer]))


def test_factors_of_another_shape_are_refused():
    penalty = kreg.L1(0.1, factors=np.ones((2, 3)))
    layer = layers.Dense(2, kernel_regularizer=penalty)
    with pytest.raises(ValueError, match=r"kernel`: `factors` must have"):
        kreg.bind(keras.Sequential([keras.Input((3,)), layer]))


def test_groups_by_name_on_a_bare_array_are_refused():
    with pytest.raises(ValueError, match=r"call `kreg\.bind\(model\)`"):
        kreg.GroupLasso(0.1)(np.ones((3, 2)))


def test_groups_by_name_unbound_raise_before_a_weight_changes():
    layer = layers.Dense(2, kernel_regularizer=kreg.GroupLasso(0.1))
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match=r"call `kreg\.bind\(model\)`"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    if keras.backend.backend() != "jax":  # where Keras loses the weights
        np.testing.assert_array_equal(model.get_weights()[0], before)
