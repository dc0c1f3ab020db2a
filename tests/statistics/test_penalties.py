"""`kreg.penalties` against NumPy."""

import keras
import numpy as np
import pytest

import kreg


def network(scheduled=False):
    strength = kreg.schedules.LinearRamp(0.1, 0.5, 4) if scheduled else 0.1
    model = keras.Sequential(name="net")
    model.add(
        keras.layers.Dense(
            3,
            kernel_regularizer=kreg.L1(strength),
            bias_initializer="ones",
            bias_regularizer=keras.regularizers.L2(0.2),
            name="hidden",
        )
    )
    model.add(keras.layers.Dense(2, name="free"))
    model.build((None, 4))
    return model


@pytest.mark.parametrize("bound", [False, True])
def test_each_weight_by_its_path(bound):
    model = network()
    if bound:
        kreg.bind(model)
    kernel, bias = model.get_weights()[:2]
    assert kreg.penalties(model) == pytest.approx(
        {
            "net/hidden/kernel": 0.1 * np.abs(kernel).sum(),
            "net/hidden/bias": 0.2 * np.square(bias).sum(),
        }
    )


@pytest.mark.parametrize("bound", [False, True])
def test_schedule_is_read_at_the_optimizers_iteration(bound):
    model = network(scheduled=True)
    model.compile("sgd", "mse")
    if bound:
        kreg.bind(model)
    model.optimizer.iterations.assign(2)
    norm = np.abs(model.get_weights()[0]).sum()
    assert kreg.penalties(model)["net/hidden/kernel"] == pytest.approx(
        0.3 * norm
    )


def test_frozen_weights_are_left_out():
    model = network()
    model.layers[0].trainable = False
    assert kreg.penalties(model) == {}


def test_equal_paths_are_told_apart():
    def part():
        layer = keras.layers.Dense(
            2, kernel_regularizer=kreg.L1(0.1), name="same"
        )
        inputs = keras.Input((2,))
        return keras.Model(inputs, layer(inputs))

    inputs = keras.Input((2,))
    model = keras.Model(inputs, part()(part()(inputs)))
    assert list(kreg.penalties(model)) == ["same/kernel", "same/kernel#2"]
