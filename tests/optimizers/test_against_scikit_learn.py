"""Where training ends is the solution that scikit-learn computes."""

import keras
import numpy as np
import pytest
from full_batch import trained_weights
from keras import optimizers
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    MultiTaskLasso,
    Ridge,
)
from thorough import few_of

import kreg
from kreg.optimizers.table import KERAS_OPTIMIZERS

BACKEND = keras.backend.backend()
ALPHA = 0.1
STEPS, FADE = (12000, 2000) if BACKEND != "torch" else (4000, 1000)


def decaying(rate, end=1e-2):
    """A rate that is constant, then falls, then is constant at `end * rate`.

    An adaptive optimizer comes to rest there. At a lower rate float32 could not
    balance updates and proximal steps of a few units in a weight's last place.
    """
    fade = kreg.schedules.GeometricRamp(rate, end * rate, steps=FADE)
    return kreg.schedules.Join([rate, fade], boundaries=[STEPS - 2 * FADE])


OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.1),
    "SGD_momentum": lambda: optimizers.SGD(0.02, momentum=0.9),
    "SGD_nesterov": lambda: optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    "Adam": lambda: optimizers.Adam(decaying(0.05)),
    "Adam_amsgrad": lambda: optimizers.Adam(0.05, amsgrad=True),
    "AdamW": lambda: optimizers.AdamW(decaying(0.05), weight_decay=0.0),
    "Nadam": lambda: optimizers.Nadam(decaying(0.05)),
    "Adamax": lambda: optimizers.Adamax(decaying(0.05)),
    "RMSprop": lambda: optimizers.RMSprop(decaying(0.02, end=4e-3)),
    "RMSprop_momentum": lambda: optimizers.RMSprop(
        0.01, momentum=0.5, epsilon=1e-2
    ),
    "RMSprop_centered": lambda: optimizers.RMSprop(
        3e-3, centered=True, epsilon=1e-3
    ),
    "RMSprop_centered_momentum": lambda: optimizers.RMSprop(
        1e-3, centered=True, momentum=0.9, epsilon=1e-3
    ),
    "Adagrad": lambda: optimizers.Adagrad(0.5),
    "Adadelta": lambda: optimizers.Adadelta(decaying(5.0)),
    "ScheduleFreeAdamW": lambda: optimizers.ScheduleFreeAdamW(0.5, epsilon=1.0),
}


def test_each_optimizer_of_the_table_is_tried():
    # By name: on torch Keras makes objects of a class of its own.
    tried = {type(make()).__name__ for make in OPTIMIZERS.values()}
    supported = {
        cls.__name__
        for cls, row in KERAS_OPTIMIZERS.items()
        if row.effective_step
    }
    assert supported <= tried


def data(correlation=0.9, scales=(1.0, 1.0)):
    """Twenty columns; three are causes, and the second follows the first.

    Args:
        correlation: the correlation of the first and the second column.
        scales: the smallest and the largest scale of a column.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20))
    noise = np.sqrt(1 - correlation**2)
    x[:, 1] = correlation * x[:, 0] + noise * x[:, 1]
    beta = np.zeros(20)
    beta[[0, 3, 7]] = [2.0, -1.5, 1.0]
    y = x @ beta + 0.3 * rng.normal(size=200)
    x = x * np.geomspace(*scales, 20)
    return x.astype("float32"), y.astype("float32")


DATA = {
    "correlated": lambda: data(),
    "ill_conditioned": lambda: data(scales=(0.3, 3.0)),
}


@pytest.fixture(params=few_of(DATA, "correlated"), name="xy")
def _xy(request):
    return DATA[request.param]()


def train(name, penalty, x, y, *, steps=STEPS, clipping=None, **settings):
    """Full-batch training by an optimizer of the table, perhaps clipped."""
    optimizer = OPTIMIZERS[name]()
    for argument, value in (clipping or {}).items():
        setattr(optimizer, argument, value)
    return trained_weights(optimizer, penalty, x, y, steps=steps, **settings)


def assert_same(ours, theirs, tolerance=1e-4):
    theirs = np.reshape(theirs, ours.shape)
    np.testing.assert_array_equal(ours == 0.0, theirs == 0.0)
    assert np.abs(ours - theirs).max() < tolerance * np.abs(theirs).max()


def solved(estimator, x, y):
    return estimator.fit(x.astype("float64"), y.astype("float64"))


EXACT = {"tol": 1e-12, "max_iter": 100_000}

# The step is the same mathematics on every backend; torch is slow at it.
FEW = ["SGD_momentum", "Adam"] if BACKEND != "torch" else ["SGD_momentum"]
NAMES = {
    # Keras computes ScheduleFreeAdamW as its paper says on JAX alone.
    "tensorflow": [name for name in OPTIMIZERS if name != "ScheduleFreeAdamW"],
    "jax": [*FEW, "ScheduleFreeAdamW"],
    "torch": FEW,
}[BACKEND]
# One lasso shows each optimizer, and the last of FEW each penalty.
ONE = few_of(NAMES, FEW[-1])
ONE_OF_FEW = few_of(FEW, FEW[-1])


@pytest.mark.parametrize("name", ONE)
def test_lasso(name, xy):
    (kernel,) = train(name, kreg.L1(2 * ALPHA), *xy)
    theirs = solved(Lasso(ALPHA, fit_intercept=False, **EXACT), *xy)
    assert_same(kernel, theirs.coef_)


# Each lets through a part of the data gradient that the penalty balances.
CLIPPING = {
    "clipnorm": {"clipnorm": 0.05},
    "global_clipnorm": {"global_clipnorm": 0.05},
    "clipvalue": {"clipvalue": 0.02},
}
CLIPPED = [n for n in ("SGD_momentum", "Adam", "RMSprop") if n in NAMES]


CLIPPED_CASES = [(n, c) for n in CLIPPED for c in CLIPPING]


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "clipnorm"))
@pytest.mark.parametrize("name", few_of(CLIPPED, FEW[-1]))
def test_lasso_with_clipped_gradients(name, clipping):
    x, y = data()
    (kernel,) = train(
        name, kreg.L1(2 * ALPHA), x, y, clipping=CLIPPING[clipping]
    )
    theirs = solved(Lasso(ALPHA, fit_intercept=False, **EXACT), x, y)
    assert_same(kernel, theirs.coef_)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ONE)
def test_lasso_with_intercept(name):
    x, y = data()
    kernel, bias = train(name, kreg.L1(2 * ALPHA), x, y + 3.0, intercept=True)
    theirs = solved(Lasso(ALPHA, **EXACT), x, y + 3.0)
    assert_same(kernel, theirs.coef_)
    assert bias[0] == pytest.approx(theirs.intercept_, abs=1e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ONE)
def test_elastic_net(name):
    x, y = data()
    penalty = kreg.L1L2(l1=2 * ALPHA * 0.6, l2=ALPHA * 0.4)
    (kernel,) = train(name, penalty, x, y)
    theirs = ElasticNet(ALPHA, l1_ratio=0.6, fit_intercept=False, **EXACT)
    assert_same(kernel, solved(theirs, x, y).coef_)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ONE)
def test_ridge(name):
    x, y = data()
    (kernel,) = train(name, kreg.L2(ALPHA), x, y)
    theirs = Ridge(ALPHA * len(x), fit_intercept=False)
    assert_same(kernel, solved(theirs, x, y).coef_)


LOGISTIC_STRENGTH = 0.02


def fit_logistic(name, **settings):
    """The kernels of a logistic L1 regression: kreg's and scikit-learn's."""
    x, y = data()
    labels = (y > 0).astype("float32")
    (kernel,) = train(
        name,
        kreg.L1(LOGISTIC_STRENGTH),
        x,
        labels,
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        **settings,
    )
    theirs = LogisticRegression(
        l1_ratio=1.0,
        C=1.0 / (LOGISTIC_STRENGTH * len(x)),
        solver="saga",
        tol=1e-12,
        max_iter=100_000,
        fit_intercept=False,
    )
    return kernel, solved(theirs, x, labels).coef_


@pytest.mark.parametrize("name", ONE)
def test_logistic_regression(name):
    assert_same(*fit_logistic(name))


@pytest.mark.parametrize("case", few_of(CLIPPED_CASES), ids="-".join)
def test_logistic_regression_with_clipped_gradients(case):
    """The gradient at rest has entries of 0.02 each."""
    name, clipping = case
    (argument,) = CLIPPING[clipping]
    limit = {argument: 0.015 if argument == "clipvalue" else 0.03}
    assert_same(*fit_logistic(name, clipping=limit))


def squared_error(y, prediction):
    """The sum over outputs, as in scikit-learn; Keras's `mse` is the mean."""
    return keras.ops.sum(keras.ops.square(y - prediction), axis=-1)


def tasks(x, y):
    """Three outputs that share their causes."""
    rng = np.random.default_rng(1)
    mixed = np.outer(y, [1.0, -0.5, 0.3]) + 0.2 * rng.normal(size=(len(y), 3))
    return mixed.astype("float32")


@pytest.mark.thorough
@pytest.mark.parametrize("name", ONE)
def test_multi_task_lasso(name, xy):
    """Its groups are rows of the kernel: the outgoing weights of an input."""
    x, y = xy[0], tasks(*xy)
    penalty = kreg.GroupLasso(2 * ALPHA / np.sqrt(3), "inputs")
    (kernel,) = train(name, penalty, x, y, loss=squared_error)
    theirs = MultiTaskLasso(ALPHA, fit_intercept=False, **EXACT)
    assert_same(kernel, solved(theirs, x, y).coef_.T)


@pytest.mark.parametrize("case", few_of(CLIPPED_CASES), ids="-".join)
def test_multi_task_lasso_with_clipped_gradients(case):
    name, clipping = case
    x, y = data()
    y = tasks(x, y)
    penalty = kreg.GroupLasso(2 * ALPHA / np.sqrt(3), "inputs")
    (kernel,) = train(
        name, penalty, x, y, loss=squared_error, clipping=CLIPPING[clipping]
    )
    theirs = MultiTaskLasso(ALPHA, fit_intercept=False, **EXACT)
    assert_same(kernel, solved(theirs, x, y).coef_.T)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ONE_OF_FEW)
def test_penalty_factors(name):
    """scikit-learn has no factors; scaled columns take their place."""
    x, y = data()
    factors = np.geomspace(0.5, 2.0, 20)
    penalty = kreg.L1(2 * ALPHA, factors=factors[:, None])
    (kernel,) = train(name, penalty, x, y)
    theirs = solved(Lasso(ALPHA, fit_intercept=False, **EXACT), x / factors, y)
    assert_same(kernel, theirs.coef_ / factors)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ONE_OF_FEW)
def test_entry_without_penalty(name):
    """The gradient is 0 at entries without penalty, and bounded elsewhere."""
    x, y = data()
    factors = np.ones((20, 1))
    factors[[4, 11]] = 0.0
    (kernel,) = train(name, kreg.L1(2 * ALPHA, factors=factors), x, y)
    assert kernel[[4, 11]].all()
    residual = x.astype("float64") @ kernel.ravel() - y
    gradient = np.abs(x.T @ residual) / len(x)
    np.testing.assert_allclose(gradient[[4, 11]], 0.0, atol=1e-5)
    assert (gradient < ALPHA * (1 + 1e-4)).all()
    on = (kernel.ravel() != 0) & (factors.ravel() > 0)
    np.testing.assert_allclose(gradient[on], ALPHA, rtol=1e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ONE_OF_FEW)
@pytest.mark.parametrize("groups", few_of(["units", "inputs"], "units"))
def test_sparse_group_lasso_is_at_its_optimum(name, groups):
    """NumPy computes the optimality condition of each group."""
    x, y = data()
    y = tasks(x, y)
    l1, group = 0.02, 0.02
    penalty = kreg.SparseGroupLasso(l1, group, groups)
    (kernel,) = train(name, penalty, x, y)
    gradient = 2 * x.T @ (x.astype("float64") @ kernel - y) / y.size
    if groups == "units":
        kernel, gradient = kernel.T, gradient.T
    weight = group * np.sqrt(kernel.shape[1])
    kept = 0
    for w, g in zip(kernel, gradient, strict=True):
        if not w.any():
            left = np.sign(g) * np.maximum(np.abs(g) - l1, 0)
            assert np.linalg.norm(left) <= weight * (1 + 1e-4)
            continue
        kept += 1
        pull = g + weight * w / np.linalg.norm(w)
        on = w != 0
        np.testing.assert_allclose(pull[on], -l1 * np.sign(w[on]), atol=2e-5)
        assert (np.abs(pull[~on]) <= l1 * (1 + 1e-4)).all()
    assert kept
    assert (kernel == 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_FEW)
def test_mcp_keeps_the_support_and_shrinks_nothing(name):
    """Large coefficients are those of least squares on the support."""
    x, y = data(correlation=0.0)
    (kernel,) = train(name, kreg.MCP(2 * ALPHA, gamma=1.5), x, y)
    support = kernel.ravel() != 0
    assert np.flatnonzero(support).tolist() == [0, 3, 7]
    theirs = np.linalg.lstsq(x[:, support].astype("float64"), y, rcond=None)[0]
    np.testing.assert_allclose(kernel.ravel()[support], theirs, rtol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("name", FEW)
def test_mini_batches_find_the_support(name):
    """They keep the support of the full-batch solution, and some more weights.

    The noise of a batch's gradient is larger than the strength, so weights that
    the full batch would drop come and go: precision was 0.75 with Adam and 0.21
    with SGD, recall 1 with both.
    """
    x, y = data()
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_regularizer=kreg.L1(2 * ALPHA)
    )
    model = keras.Sequential([keras.Input((20,)), layer])
    rate = keras.optimizers.schedules.CosineDecay(0.02, 100 * 13)
    inner = {
        "Adam": optimizers.Adam(rate),
        "SGD_momentum": optimizers.SGD(rate, momentum=0.5),
    }[name]
    model.compile(kreg.ProximalOptimizer(inner), "mse")
    kreg.bind(model)
    model.fit(x, y, batch_size=16, epochs=100, verbose=0)
    ours = model.get_weights()[0].ravel() != 0
    theirs = solved(Lasso(ALPHA, fit_intercept=False, **EXACT), x, y).coef_ != 0
    assert (ours & theirs).sum() == theirs.sum()
    assert ours.sum() < len(ours)


@pytest.mark.thorough
def test_strength_above_the_critical_one_keeps_nothing():
    x, y = data()
    critical = 2 * np.abs(x.T @ y).max() / len(x)
    for factor, nothing in ((1.01, True), (0.9, False)):
        (kernel,) = train(
            "SGD_momentum", kreg.L1(factor * critical), x, y, steps=1000
        )
        assert (not kernel.any()) == nothing


@pytest.mark.slow
def test_keras_alone_has_no_zero():
    """This is the reason for `ProximalOptimizer`."""
    x, y = data()
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dense(
                1, kernel_regularizer=keras.regularizers.L1(2 * ALPHA)
            ),
        ]
    )
    model.compile(optimizers.Adam(0.01), "mse")
    model.fit(x, y, epochs=20, verbose=0)
    assert np.count_nonzero(model.get_weights()[0]) == 20
