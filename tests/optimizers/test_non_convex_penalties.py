"""Penalties that are not convex come to rest under every optimizer.

NumPy computes in float64 how far the gradient of the data loss is from that of
the penalty, at weights that the optimizers of the table have trained.
"""

import keras
import numpy as np
import pytest
from full_batch import trained_weights
from keras import optimizers
from thorough import few_of

import kreg
from kreg.optimizers.table import KERAS_OPTIMIZERS

BACKEND = keras.backend.backend()
STEPS = 6000 if BACKEND != "torch" else 2000
STRENGTH = 0.3


def regression(seed):
    """Ten columns of unequal scales, four of them causes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(100, 10)) * np.exp(0.4 * rng.normal(size=10))
    x[:, 1] += 0.8 * x[:, 0]
    beta = np.zeros(10)
    beta[:4] = 2.0 * rng.normal(size=4)
    y = x @ beta + 0.3 * rng.normal(size=100)
    return x.astype("float32"), y.astype("float32")


def mcp_slope(size, gamma):
    return np.maximum(STRENGTH - size / gamma, 0.0)


def scad_slope(size, a):
    fading = np.maximum(a * STRENGTH - size, 0.0) / (a - 1.0)
    return np.where(size <= STRENGTH, STRENGTH, fading)


PENALTIES = {
    "MCP_3": (lambda: kreg.MCP(STRENGTH, gamma=3.0), mcp_slope, 3.0),
    "MCP_1.5": (lambda: kreg.MCP(STRENGTH, gamma=1.5), mcp_slope, 1.5),
    "SCAD_3.7": (lambda: kreg.SCAD(STRENGTH, a=3.7), scad_slope, 3.7),
    "SCAD_2.2": (lambda: kreg.SCAD(STRENGTH, a=2.2), scad_slope, 2.2),
}


def residual(w, x, y, slope, shape):
    """The largest distance from stationarity, by the largest gradient at 0."""
    w, x, y = w.ravel().astype("float64"), x.astype("float64"), y
    gradient = 2 * x.T @ (x @ w - y) / len(x)
    distances = np.where(
        w == 0.0,
        np.maximum(np.abs(gradient) - STRENGTH, 0.0),
        np.abs(gradient + np.sign(w) * slope(np.abs(w), shape)),
    )
    return distances.max() / np.abs(2 * x.T @ y / len(x)).max()


def decaying(rate, end=0.01):
    """A momentum of updates lags behind it, so there it must fall slowly."""
    fade = kreg.schedules.GeometricRamp(rate, end * rate, steps=STEPS // 3)
    return kreg.schedules.Join([rate, fade], boundaries=[STEPS // 2])


MOMENTA = (0.0, 0.5, 0.9, 0.97, 0.99)
OPTIMIZERS = {
    **{
        f"SGD_{m}": lambda m=m: optimizers.SGD(0.05, momentum=m)
        for m in MOMENTA
    },
    **{
        f"Nesterov_{m}": lambda m=m: optimizers.SGD(
            0.05, momentum=m, nesterov=True
        )
        for m in MOMENTA[1:]
    },
    **{
        f"Adam_{m}": lambda m=m: optimizers.Adam(decaying(0.03), beta_1=m)
        for m in MOMENTA
    },
    "Adam_amsgrad": lambda: optimizers.Adam(0.03, amsgrad=True),
    "AdamW": lambda: optimizers.AdamW(decaying(0.03), weight_decay=0.0),
    "Nadam": lambda: optimizers.Nadam(decaying(0.03)),
    "Adamax": lambda: optimizers.Adamax(decaying(0.03)),
    **{
        f"RMSprop_{m}": lambda m=m: optimizers.RMSprop(
            decaying(0.1 * (1.0 - m), end=0.1), momentum=m
        )
        for m in MOMENTA[1:]
    },
    "RMSprop_0.0": lambda: optimizers.RMSprop(decaying(0.03)),
    "RMSprop_centered": lambda: optimizers.RMSprop(
        3e-3, centered=True, epsilon=1e-3
    ),
    "RMSprop_centered_momentum": lambda: optimizers.RMSprop(
        1e-3, centered=True, momentum=0.9, epsilon=1e-3
    ),
    "Adagrad": lambda: optimizers.Adagrad(0.5),
    "Adadelta": lambda: optimizers.Adadelta(decaying(5.0)),
}


def test_each_optimizer_that_states_its_momentum_is_tried():
    tried = {type(make()).__name__ for make in OPTIMIZERS.values()}
    stated = {
        cls.__name__ for cls, row in KERAS_OPTIMIZERS.items() if row.momentum
    }
    assert stated <= tried


def assert_at_rest(name, penalty, seed):
    make, slope, shape = PENALTIES[penalty]
    x, y = regression(seed)
    (w,) = trained_weights(OPTIMIZERS[name](), make(), x, y, steps=STEPS)
    assert residual(w, x, y, slope, shape) < 1e-3


@pytest.mark.parametrize("name", few_of(["SGD_0.9", "Adam_0.9"], "Adam_0.9"))
def test_at_rest(name):
    assert_at_rest(name, "MCP_1.5", 0)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_at_rest_under_every_optimizer(name, penalty):
    seed = (list(OPTIMIZERS).index(name) + list(PENALTIES).index(penalty)) % 3
    assert_at_rest(name, penalty, seed)


@pytest.mark.thorough
@pytest.mark.parametrize("momentum", few_of(MOMENTA, 0.9))
@pytest.mark.parametrize("gamma", [3.0, 10.0])
def test_one_weight_comes_to_rest_at_the_minimum(gamma, momentum):
    """`2 * (w - 1) + s - w / gamma` is 0 there."""
    x = np.ones((1, 1), "float32")
    (w,) = trained_weights(
        optimizers.SGD(0.1, momentum=momentum),
        kreg.MCP(0.5, gamma=gamma),
        x,
        x,
        steps=STEPS,
        initializer="ones",
    )
    assert w.item() == pytest.approx(1.5 / (2.0 - 1.0 / gamma), abs=1e-4)


def test_a_step_that_is_short_enough_is_taken_in_full():
    """Without momentum it is up to half of the longest."""
    penalty = kreg.MCP(0.3, gamma=3.0)
    layer = keras.layers.Dense(3, use_bias=False, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((2,)), layer])
    kreg.bind(model)
    model.compile(kreg.ProximalOptimizer(optimizers.SGD(1.4)), "mse")
    before = model.get_weights()[0]
    model.fit(np.zeros((4, 2)), np.zeros((4, 3)), verbose=0)
    after = penalty.proximal_step(
        keras.ops.convert_to_tensor(before), 1.4, penalty.strengths()
    )
    after = keras.ops.convert_to_numpy(after)
    np.testing.assert_allclose(model.get_weights()[0], after, rtol=1e-6)


# Penalties that act on no weight.
IDLE = {
    "MCP_multiplier_0": lambda: kreg.MCP(STRENGTH, multiplier=0.0),
    "SCAD_multiplier_0": lambda: kreg.SCAD(STRENGTH, multiplier=0.0),
    "MCP_later": lambda: kreg.MCP(kreg.schedules.Delay(STRENGTH, 1000)),
    "MCP_factors_0": lambda: kreg.MCP(STRENGTH, factors=np.zeros((10, 1))),
}
LONG_STEPS = {
    "Adam": lambda: optimizers.Adam(0.03),
    "amsgrad": lambda: optimizers.Adam(0.03, amsgrad=True),
    "AdamW": lambda: optimizers.AdamW(0.03),
    "Nadam": lambda: optimizers.Nadam(0.03),
    "Adamax": lambda: optimizers.Adamax(0.03),
    "RMSprop": lambda: optimizers.RMSprop(0.03, momentum=0.9),
    "Nesterov": lambda: optimizers.SGD(0.05, momentum=0.99, nesterov=True),
}


@pytest.mark.parametrize("penalty", few_of(IDLE, "MCP_multiplier_0"))
@pytest.mark.parametrize("name", few_of(LONG_STEPS, "Adam"))
def test_weights_that_the_penalty_does_not_act_on_move_freely(name, penalty):
    x, y = regression(0)
    trained = []
    for make in (IDLE[penalty], lambda: None):
        keras.utils.set_random_seed(0)
        trained += trained_weights(LONG_STEPS[name](), make(), x, y, steps=40)
    np.testing.assert_array_equal(*trained)


class Unstated(optimizers.Optimizer):
    """Gradient descent, of which kreg knows the step alone."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient)


@kreg.optimizers.register_optimizer(Unstated)
def unstated(optimizer, variable, learning_rate):
    return kreg.optimizers.EffectiveStep(learning_rate)


def test_an_optimizer_of_unknown_momentum_is_refused_until_it_is_stated():
    x, y = regression(0)
    settings = {"x": x, "y": y, "steps": 10}
    penalty = kreg.MCP(STRENGTH, gamma=3.0)
    trained_weights(Unstated(0.05), kreg.L1(STRENGTH), **settings)
    with pytest.raises(ValueError, match="pass `momentum`"):
        trained_weights(Unstated(0.05), penalty, **settings)
    kreg.optimizers.register_optimizer(Unstated, momentum=0.0)(unstated)
    trained_weights(Unstated(0.05), penalty, **settings)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras is right on JAX alone")
def test_schedule_free_is_refused():
    x, y = regression(0)
    with pytest.raises(ValueError, match="ScheduleFreeAdamW is not known"):
        trained_weights(
            optimizers.ScheduleFreeAdamW(), kreg.MCP(STRENGTH), x, y, steps=1
        )


@pytest.mark.parametrize("momentum", [1.0, -0.1, True, "fast"])
def test_a_momentum_out_of_range_is_refused(momentum):
    with pytest.raises((TypeError, ValueError), match="`momentum` must be"):
        kreg.optimizers.register_optimizer(Unstated, momentum=momentum)
