"""The optimality of a weight at rest, whatever its momentum holds."""

import math

import keras
import numpy as np
import pytest
from full_batch import fit_steps
from keras import optimizers
from keras.optimizers import schedules
from thorough import few_of

import kreg

STEPS, STRENGTH = 1000, 0.4

RATES = {
    "constant": lambda: 0.02,
    "to zero": lambda: schedules.CosineDecay(0.02, STEPS - 2),
    "dropped": lambda: schedules.PiecewiseConstantDecay(
        [STEPS - 3], [0.02, 2e-5]
    ),
    "falling": lambda: schedules.ExponentialDecay(0.02, 300, 0.5),
    "raised": lambda: schedules.PiecewiseConstantDecay(
        [STEPS - 3], [0.01, 0.02]
    ),
}

OPTIMIZERS = {
    "SGD": lambda rate, **kw: optimizers.SGD(rate, momentum=0.9, **kw),
    "nesterov": lambda rate, **kw: optimizers.SGD(
        rate, momentum=0.9, nesterov=True, **kw
    ),
    "Adam": lambda rate, **kw: optimizers.Adam(rate, **kw),
    "Nadam": lambda rate, **kw: optimizers.Nadam(rate, **kw),
    "Adamax": lambda rate, **kw: optimizers.Adamax(rate, **kw),
}

CLIPPING = {
    "clipnorm": {"clipnorm": 0.3},
    "global_clipnorm": {"global_clipnorm": 0.3},
    "clipvalue": {"clipvalue": 0.2},
}


def assert_reads_the_data(optimizer):
    """Whether a reading has the gradient of the data, and its residual."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 8)).astype("float32")
    beta = np.array([1.0, -1, 0.6, 0, 0, 0, -0.5, 0.05])
    y = (x @ beta + 0.3 * rng.normal(size=160)).astype("float32")
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_regularizer=kreg.L1(STRENGTH)
    )
    model = keras.Sequential([keras.Input((8,)), layer])
    kreg.bind(model)
    model.compile(kreg.ProximalOptimizer(optimizer), "mse")
    fit_steps(model, x, y, STEPS)
    w = model.get_weights()[0].astype("float64").ravel()
    gradient = 2.0 / len(x) * x.T.astype("float64") @ (x @ w - y)
    for _ in range(2):  # as it is, then compiled
        (kernel,) = kreg.statistics.read(model).weights
        size = np.linalg.norm(gradient)
        assert math.isclose(kernel.gradient_norm, size, rel_tol=1e-3)
        assert kernel.optimality < 1e-3 * size


@pytest.mark.thorough
@pytest.mark.parametrize("rate", few_of(RATES, "dropped", "to zero"))
@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "SGD"))
def test_under_changing_rates(name, rate):
    assert_reads_the_data(OPTIMIZERS[name](RATES[rate]()))


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "clipvalue"))
@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "SGD", "Adam"))
def test_under_clipping(name, clipping):
    assert_reads_the_data(OPTIMIZERS[name](0.02, **CLIPPING[clipping]))


@pytest.mark.thorough
def test_under_clipping_while_rates_fall():
    inner = OPTIMIZERS["SGD"](RATES["dropped"](), clipnorm=0.3)
    assert_reads_the_data(inner)


def test_training_under_clipping_ends_at_the_tolerance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    y = x[:, :1] - 0.5 * x[:, 1:2]

    def build_model():
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(1, use_bias=False)]
        )
        model.compile(OPTIMIZERS["SGD"](0.02, global_clipnorm=0.1), "mse")
        return model

    training = kreg.selection.Training(2000, batch_size=None)
    result = kreg.path(
        build_model, (x, y), kreg.L1, [0.5], training=training, verbose=0
    )
    assert result.points[0].epochs < 2000
