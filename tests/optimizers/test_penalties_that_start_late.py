"""Penalties that start when a model is fitted, and its gradients are small.

An optimizer that divides by the size of past gradients then makes updates of
many learning rates. A proximal step must be able to undo them.
"""

import keras
import numpy as np
import pytest
from full_batch import fit_steps
from keras import optimizers
from sklearn.linear_model import Lasso
from thorough import few_of

import kreg

LATE, RATE = 1200, 0.01
PEERS = {
    "Adam": optimizers.Adam,
    "amsgrad": lambda rate: optimizers.Adam(rate, amsgrad=True),
    "AdamW": optimizers.AdamW,
    "Nadam": optimizers.Nadam,
    "RMSprop": optimizers.RMSprop,
    "RMSprop with momentum": lambda rate: optimizers.RMSprop(
        rate, momentum=0.5
    ),
    "Adamax": optimizers.Adamax,
    "SGD": optimizers.SGD,
    "clipped": lambda rate: optimizers.Adam(rate, clipnorm=1.0),
}


def data():
    x = np.random.default_rng(0).normal(size=(64, 5))
    return x, x @ np.array([[1.0], [-1.0], [0.5], [2.0], [0.3]])


def kernel_after(penalty, optimizer, steps):
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile(kreg.ProximalOptimizer(optimizer), "mse")
    kreg.bind(model)
    fit_steps(model, *data(), steps)
    return keras.ops.convert_to_numpy(layer.kernel)


@pytest.mark.parametrize("factor", few_of([2.0, 1000.0], 1000.0))
@pytest.mark.parametrize("name", few_of(PEERS, "Adam"))
def test_a_strength_that_leaves_nothing_does_so(name, factor):
    x, y = data()
    strength_max = np.abs(2.0 * x.T @ y / len(x)).max()
    late = kreg.schedules.Delay(float(factor * strength_max), LATE)
    kernel = kernel_after(kreg.L1(late), PEERS[name](RATE), LATE + 400)
    np.testing.assert_array_equal(kernel, 0.0)


@pytest.mark.thorough
@pytest.mark.parametrize("strength", [1.0, 2.0])
@pytest.mark.parametrize("name", ["Adam", "Nadam", "clipped"])
def test_training_ends_at_the_lasso(name, strength):
    x, y = data()
    ramp = kreg.schedules.LinearRamp(0.0, strength, steps=500)
    steps = LATE + 2000
    rate = optimizers.schedules.CosineDecay(RATE, steps)
    late = kreg.schedules.Delay(ramp, LATE)
    kernel = kernel_after(kreg.L1(late), PEERS[name](rate), steps)
    lasso = Lasso(alpha=strength / 2.0, fit_intercept=False, tol=1e-10)
    expected = lasso.fit(x, y[:, 0]).coef_[:, None]
    np.testing.assert_allclose(kernel, expected, atol=0.03)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["Adam", "RMSprop"])
def test_a_rare_input_has_no_weight_under_a_high_strength(name):
    generator = np.random.default_rng(0)
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_regularizer=kreg.L1(1e4)
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(kreg.ProximalOptimizer(PEERS[name](RATE)), "mse")
    kreg.bind(model)
    for step in range(600):
        x = generator.normal(size=(16, 2))
        x[:, 0] = step % 100 == 50
        model.train_on_batch(x, 3.0 * x[:, :1] + x[:, 1:])
        if step >= 300:
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            np.testing.assert_array_equal(kernel, 0.0)
