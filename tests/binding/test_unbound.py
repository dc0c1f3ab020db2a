"""A schedule that stands still is reported, once."""

import warnings

import keras
import numpy as np
import pytest

import kreg

RAMP = kreg.schedules.LinearRamp(0.5, 1.0, steps=10)
X, Y = np.zeros((4, 3)), np.zeros((4, 1))


def model_of(penalty):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(
                1, kernel_initializer="ones", kernel_regularizer=penalty
            ),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def test_unbound_schedule_warns_in_fit_and_names_the_fix():
    model = model_of(kreg.L1(RAMP))
    with pytest.warns(UserWarning, match=r"L1\(l1=LinearRamp.*kreg\.bind"):
        model.fit(X, Y, epochs=2, verbose=0)


def test_it_warns_once():
    penalty = kreg.L1(RAMP)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            penalty(X)
    assert len(caught) == 1


def test_bound_without_an_optimizer_warns():
    model = keras.Sequential([keras.Input((3,))])
    model.add(keras.layers.Dense(1, kernel_regularizer=kreg.L1(RAMP)))
    kreg.bind(model)
    with pytest.warns(UserWarning, match="its model has no optimizer"):
        _ = model.losses


@pytest.mark.parametrize("epochs", [1, 2])
def test_no_warning_for_a_constant_strength(epochs):
    model_of(kreg.L1(0.5)).fit(X, Y, epochs=epochs, verbose=0)


def test_no_warning_where_a_callback_binds_in_time():
    model = keras.Sequential(
        [keras.layers.Dense(1, kernel_regularizer=kreg.L1(RAMP))]
    )
    model.compile("sgd", "mse")
    steer = kreg.callbacks.StrengthScheduler(lambda epoch: 1.0)
    model.fit(X, Y, verbose=0, callbacks=[steer])
