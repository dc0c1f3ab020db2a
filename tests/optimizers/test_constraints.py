"""A weight at rest under a constraint is a minimum under that constraint."""

import keras
import numpy as np
import pytest
from full_batch import trained_weights
from keras import constraints, optimizers
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
STEPS = 3000 if BACKEND != "torch" else 1000
STRENGTH = 0.2
RATE = 0.05


def data():
    """Six inputs, three of them causes of two outputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    causes = np.array([[1.0, -1, 0.5, 0, 0, 0], [0.5, 1, 0.0, -0.5, 0, 0]]).T
    return x.astype("float32"), (x @ causes).astype("float32")


def norms(w):
    return np.linalg.norm(w, axis=0, keepdims=True)


# Each constraint of Keras, and its projection once more in NumPy.
CONSTRAINTS = {
    "MaxNorm": (
        lambda: constraints.MaxNorm(0.7, axis=0),
        lambda w: w * np.minimum(1.0, 0.7 / np.maximum(norms(w), 1e-12)),
    ),
    "NonNeg": (constraints.NonNeg, lambda w: np.maximum(w, 0.0)),
    "UnitNorm": (lambda: constraints.UnitNorm(axis=0), lambda w: w / norms(w)),
    "MinMaxNorm": (
        lambda: constraints.MinMaxNorm(0.3, 0.6, rate=1.0, axis=0),
        lambda w: w * np.clip(norms(w), 0.3, 0.6) / norms(w),
    ),
}


def soft_threshold(w, t):
    return np.sign(w) * np.maximum(np.abs(w) - t * STRENGTH, 0.0)


def group_soft_threshold(w, t):
    """Groups are the rows of two entries: all outgoing weights of an input."""
    size = np.linalg.norm(w, axis=1, keepdims=True)
    cut = t * STRENGTH * np.sqrt(2.0)
    return w * np.maximum(1.0 - cut / np.maximum(size, 1e-300), 0.0)


PENALTIES = {
    "L1": (lambda: kreg.L1(STRENGTH), soft_threshold),
    "GroupLasso": (
        lambda: kreg.GroupLasso(STRENGTH, "inputs"),
        group_soft_threshold,
    ),
}
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(RATE),
    "SGD_momentum": lambda: optimizers.SGD(RATE / 10, momentum=0.9),
    "Adam": lambda: optimizers.Adam(
        optimizers.schedules.CosineDecay(0.02, STEPS, alpha=1e-2)
    ),
}


def projected_proximal_gradient(penalty, constraint, x, y):
    x, y = x.astype("float64"), y.astype("float64")
    w = np.full((6, 2), 0.3)
    for _ in range(20_000):
        gradient = 2.0 * x.T @ (x @ w - y) / y.size
        w = constraint(penalty(w - RATE * gradient, RATE))
    return w


def trained(optimizer, penalty, constraint, steps=STEPS):
    x, y = data()
    (kernel,) = trained_weights(
        optimizer,
        penalty,
        x,
        y,
        constraint=constraint,
        steps=steps,
        initializer=keras.initializers.Constant(0.3),
    )
    return kernel


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "SGD_momentum"))
def test_constrained_minimum(name, penalty, constraint):
    """Under Adam of L1 and non-negative weights alone.

    Elsewhere the nearest point under a constraint is another one in the metric
    of Adam's steps, with or without a penalty.
    """
    if name == "Adam" and (penalty, constraint) != ("L1", "NonNeg"):
        pytest.skip("a projection is not that of Adam's metric")
    make_penalty, step = PENALTIES[penalty]
    make_constraint, projection = CONSTRAINTS[constraint]
    ours = trained(OPTIMIZERS[name](), make_penalty(), make_constraint())
    np.testing.assert_allclose(ours, projection(ours), atol=1e-5)
    theirs = projected_proximal_gradient(step, projection, *data())
    np.testing.assert_array_equal(ours == 0.0, theirs == 0.0)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


class Bounds(constraints.Constraint):
    def __call__(self, w):
        return keras.ops.clip(w, 0.05, 1.0)


def test_bounds_hold_after_every_step():
    kernel = trained(optimizers.SGD(RATE), kreg.L1(STRENGTH), Bounds(), 100)
    assert kernel.min() == np.float32(0.05)
    assert kernel.max() <= 1.0


def test_constraint_stays_that_of_the_weight():
    constraint = constraints.NonNeg()
    layer = keras.layers.Dense(
        1, kernel_regularizer=kreg.L1(0.1), kernel_constraint=constraint
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(kreg.ProximalOptimizer("sgd"), "mse")
    kreg.bind(model)
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    assert layer.kernel.constraint is constraint


def test_average_of_the_weights_is_that_of_projected_ones():
    sgd = optimizers.SGD(RATE, use_ema=True, ema_momentum=0.5)
    kernel = trained(sgd, kreg.L1(STRENGTH), Bounds(), 50)
    assert kernel.min() >= 0.05
