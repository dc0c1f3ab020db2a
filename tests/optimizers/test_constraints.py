"""A weight at rest under a constraint is a minimum under that constraint."""

import keras
import numpy as np
import pytest
import scipy.optimize
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


def norms(w, axis=0):
    return np.linalg.norm(w, axis=axis, keepdims=True)


def within(w, least, most, axis=0):
    """The nearest weights whose norms are between two numbers."""
    size = norms(w, axis)
    return w * np.clip(size, least, most) / np.maximum(size, 1e-12)


# Each constraint of Keras, and its projection once more in NumPy.
CONSTRAINTS = {
    "MaxNorm": (
        lambda: constraints.MaxNorm(0.7, axis=0),
        lambda w: within(w, 0.0, 0.7),
    ),
    "MaxNorm_rows": (
        lambda: constraints.MaxNorm(0.4, axis=1),
        lambda w: within(w, 0.0, 0.4, axis=1),
    ),
    "MaxNorm_whole": (
        lambda: constraints.MaxNorm(1.0, axis=[0, 1]),
        lambda w: within(w, 0.0, 1.0, axis=(0, 1)),
    ),
    "NonNeg": (constraints.NonNeg, lambda w: np.maximum(w, 0.0)),
    "UnitNorm": (lambda: constraints.UnitNorm(axis=0), lambda w: w / norms(w)),
    "MinMaxNorm": (
        lambda: constraints.MinMaxNorm(0.3, 0.6, rate=1.0, axis=0),
        lambda w: within(w, 0.3, 0.6),
    ),
    "MinMaxNorm_in_part": (
        lambda: constraints.MinMaxNorm(0.3, 0.6, rate=0.5, axis=0),
        lambda w: 0.5 * w + 0.5 * within(w, 0.3, 0.6),
    ),
    "function": (
        lambda: lambda w: keras.ops.clip(w, -0.3, 0.4),
        lambda w: np.clip(w, -0.3, 0.4),
    ),
}


def soft_threshold(w, t):
    return np.sign(w) * np.maximum(np.abs(w) - t * STRENGTH, 0.0)


def ridge_shrink(w, t):
    return w / (1.0 + 2.0 * t * STRENGTH)


def firm_threshold(w, t):
    large = np.abs(w) > 2.0 * STRENGTH
    return np.where(large, w, soft_threshold(w, t) / (1.0 - t / 2.0))


def group_soft_threshold(w, t, axis=1):
    """Groups along an axis: 1 for the outgoing weights of an input."""
    cut = t * STRENGTH * np.sqrt(w.shape[axis])
    return w * np.maximum(1.0 - cut / np.maximum(norms(w, axis), 1e-300), 0.0)


PENALTIES = {
    "L1": (lambda: kreg.L1(STRENGTH), soft_threshold),
    "L2": (lambda: kreg.L2(STRENGTH), ridge_shrink),
    "L1L2": (
        lambda: kreg.L1L2(STRENGTH, STRENGTH),
        lambda w, t: ridge_shrink(soft_threshold(w, t), t),
    ),
    "GroupLasso": (
        lambda: kreg.GroupLasso(STRENGTH, "inputs"),
        group_soft_threshold,
    ),
    "GroupLasso_units": (
        lambda: kreg.GroupLasso(STRENGTH / 2.0, "units"),
        lambda w, t: group_soft_threshold(w, t / 2.0, axis=0),
    ),
    "MCP": (lambda: kreg.MCP(STRENGTH, gamma=2.0), firm_threshold),
}
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(RATE),
    "SGD_momentum": lambda: optimizers.SGD(RATE / 10, momentum=0.9),
    "Adam": lambda: optimizers.Adam(
        optimizers.schedules.CosineDecay(0.02, STEPS, alpha=1e-2)
    ),
}
# With these, the nearest point under a constraint is that of each entry alone,
# which a step of its own for each entry does not change.
ENTRYWISE = [("L1", "NonNeg"), ("GroupLasso", "NonNeg"), ("L1", "function")]
CASES = [(p, c) for p in PENALTIES for c in CONSTRAINTS]
FEW = [
    ("L1", "MaxNorm"),
    ("GroupLasso", "NonNeg"),
    ("MCP", "MaxNorm_rows"),
]


def projected_proximal_gradient(penalty, constraint, x, y):
    x, y = x.astype("float64"), y.astype("float64")
    w = np.full((6, 2), 0.3)
    for _ in range(20_000):
        gradient = 2.0 * x.T @ (x @ w - y) / y.size
        moved = w - RATE * gradient
        if constraint is CONSTRAINTS["NonNeg"][1]:
            # The nearest point of both: see `test_nearest_point`.
            moved = constraint(moved)
        w = constraint(penalty(moved, RATE))
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


@pytest.mark.parametrize("pair", few_of(CASES, *FEW), ids="-".join)
@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "SGD_momentum"))
def test_constrained_minimum(name, pair):
    """Under Adam where entries are constrained each by itself.

    Elsewhere the nearest point under a constraint is another one in the metric
    of Adam's steps, with or without a penalty.
    """
    penalty, constraint = pair
    if name == "Adam" and pair not in ENTRYWISE:
        pytest.skip("a projection is not that of Adam's metric")
    make_penalty, step = PENALTIES[penalty]
    make_constraint, projection = CONSTRAINTS[constraint]
    ours = trained(OPTIMIZERS[name](), make_penalty(), make_constraint())
    if constraint != "MinMaxNorm_in_part":
        np.testing.assert_allclose(ours, projection(ours), atol=1e-5)
    theirs = projected_proximal_gradient(step, projection, *data())
    np.testing.assert_array_equal(ours == 0.0, theirs == 0.0)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


# All points of a plane, among which NumPy looks for the nearest.
GRID = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 601)] * 2), axis=-1)
EXACT = {
    "NonNeg": (*CONSTRAINTS["NonNeg"], (GRID >= 0.0).all(axis=-1)),
    "MaxNorm": (*CONSTRAINTS["MaxNorm"], np.linalg.norm(GRID, axis=-1) <= 0.7),
}
VALUES = {
    "L1": (lambda: kreg.L1(0.4), lambda u: np.abs(u).sum(-1)),
    "L2": (lambda: kreg.L2(0.4), lambda u: np.square(u).sum(-1)),
    "GroupLasso": (
        lambda: kreg.GroupLasso(0.4, "units"),
        lambda u: np.sqrt(2.0) * np.linalg.norm(u, axis=-1),
    ),
    "SparseGroupLasso": (
        lambda: kreg.SparseGroupLasso(0.4, 0.4, "units"),
        lambda u: np.abs(u).sum(-1) + np.sqrt(2.0) * np.linalg.norm(u, axis=-1),
    ),
}


@pytest.mark.parametrize("constraint", EXACT)
@pytest.mark.parametrize("penalty", VALUES)
def test_nearest_point(penalty, constraint):
    """No point that meets the constraint is nearer, with the penalty.

    Without data the update moves nothing.
    """
    make_penalty, value = VALUES[penalty]
    make_constraint, projection, allowed = EXACT[constraint]
    layer = keras.layers.Dense(
        8,
        use_bias=False,
        kernel_regularizer=make_penalty(),
        kernel_constraint=make_constraint(),
        kernel_initializer=keras.initializers.RandomUniform(-1.4, 1.4, seed=3),
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    kreg.bind(model)
    before = model.get_weights()[0]
    model.compile(kreg.ProximalOptimizer(optimizers.SGD(0.7)), "mse")
    model.fit(np.zeros((1, 2)), np.zeros((1, 8)), verbose=0)
    for w, u in zip(before.T, model.get_weights()[0].T, strict=True):
        np.testing.assert_allclose(u, projection(u[:, None]).ravel(), atol=1e-6)

        def distance(point, w=w):
            squares = np.square(point - w).sum(-1)
            return 0.4 * value(point) + squares / (2.0 * 0.7)

        assert distance(u) <= distance(GRID[allowed]).min() + 1e-6


def test_group_lasso_of_non_negative_weights():
    """SciPy finds the minimum of the loss and the penalty within bounds."""
    x, y = data()

    def objective(w):
        w = w.reshape(6, 2)
        penalty = np.sqrt(2.0) * norms(w, axis=1).sum()
        return np.square(x @ w - y).mean() + STRENGTH * penalty

    found = scipy.optimize.minimize(
        objective, np.full(12, 0.3), bounds=[(0.0, None)] * 12, tol=1e-14
    )
    ours = trained(
        optimizers.SGD(RATE),
        kreg.GroupLasso(STRENGTH, "inputs"),
        constraints.NonNeg(),
    )
    np.testing.assert_allclose(ours.ravel(), found.x, atol=1e-4)
    np.testing.assert_array_equal(ours.ravel() == 0.0, found.x == 0.0)


def test_under_adam_a_norm_is_kept_after_each_proximal_step():
    """NumPy makes the same updates. Their end is no constrained minimum."""
    x, y = (a.astype("float64") for a in data())
    w, m, v = np.full((6, 2), 0.3), 0.0, 0.0
    for k in range(1, 201):
        gradient = 2.0 * x.T @ (x @ w - y) / y.size
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        t = 0.02 * np.sqrt(1 - 0.999**k) / (1 - 0.9**k) / (np.sqrt(v) + 1e-7)
        moved = w - t * m
        after = np.clip(soft_threshold(moved, t), moved - 0.04, moved + 0.04)
        w = within(after, 0.0, 0.7)
    ours = trained(
        optimizers.Adam(0.02), kreg.L1(STRENGTH), constraints.MaxNorm(0.7), 200
    )
    np.testing.assert_allclose(ours, w, atol=1e-3)


class Bounds(constraints.Constraint):
    def __call__(self, w):
        return keras.ops.clip(w, 0.05, 1.0)


def test_bounds_hold_after_every_step():
    kernel = trained(optimizers.SGD(RATE), kreg.L1(STRENGTH), Bounds(), 100)
    assert kernel.min() == np.float32(0.05)
    assert kernel.max() <= 1.0


class NonPositive(constraints.NonNeg):
    def __call__(self, w):
        return -super().__call__(-w)


def test_subclass_of_non_neg_may_be_something_else():
    """With targets of the other sign the weights have the other sign."""
    x, y = data()
    (kernel,) = trained_weights(
        optimizers.SGD(RATE),
        kreg.L1(STRENGTH),
        x,
        -y,
        constraint=NonPositive(),
        steps=200,
        initializer=keras.initializers.Constant(-0.3),
    )
    expected = trained(
        optimizers.SGD(RATE), kreg.L1(STRENGTH), constraints.NonNeg(), 200
    )
    assert (expected > 0.0).any()
    np.testing.assert_allclose(kernel, -expected, atol=1e-6)


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


ACCUMULATED = {
    "non_neg": keras.constraints.NonNeg,
    "min_max": lambda: keras.constraints.MinMaxNorm(0.5, 1.0, rate=0.5),
}


@pytest.mark.parametrize("name", few_of(ACCUMULATED, "non_neg"))
def test_projected_as_in_keras_while_gradients_accumulate(name):
    def trained(penalty, wrapper):
        layer = keras.layers.Dense(
            1,
            use_bias=False,
            kernel_regularizer=penalty,
            kernel_constraint=ACCUMULATED[name](),
        )
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.set_weights([np.array([[-1.0], [2.0]])])
        sgd = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
        model.compile(wrapper(sgd), "mse")
        kreg.bind(model)
        x = np.eye(2, dtype="float32")
        weights = []
        for _ in range(9):
            model.train_on_batch(x, np.array([[1.0], [0.5]]))
            weights.append(layer.get_weights()[0])
        return np.array(weights)

    ramp = kreg.schedules.LinearRamp(0.0, 0.0, 3)
    np.testing.assert_allclose(
        trained(kreg.L1(ramp), kreg.ProximalOptimizer),
        trained(None, lambda optimizer: optimizer),
        atol=1e-6,
    )
