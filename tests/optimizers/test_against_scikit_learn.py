"""Where training ends is the solution that scikit-learn computes."""

import keras
import numpy as np
import pytest
from keras import optimizers
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

import kreg

BACKEND = keras.backend.backend()
ALPHA = 0.1
STEPS, FADE = (12000, 2000) if BACKEND != "torch" else (4000, 1000)


def decaying(rate, end=1e-2):
    """Constant, down to where an adaptive optimizer comes to rest, constant.

    Not lower: float32 cannot balance an update and a proximal step of a few
    units in a weight's last place.
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
        decaying(0.01, end=0.05), momentum=0.5
    ),
    "RMSprop_centered": lambda: optimizers.RMSprop(1e-4, centered=True),
    "Adagrad": lambda: optimizers.Adagrad(0.5),
    "Adadelta": lambda: optimizers.Adadelta(decaying(2.0)),
}


def data(correlated=True):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20))
    if correlated:
        x[:, 1] = x[:, 0] + 0.5 * rng.normal(size=200)
    beta = np.zeros(20)
    beta[[0, 3, 7]] = [2.0, -1.5, 1.0]
    y = x @ beta + 0.3 * rng.normal(size=200)
    return x.astype("float32"), y.astype("float32")


def train(
    optimizer,
    penalty,
    x,
    y,
    *,
    loss="mse",
    intercept=False,
    steps=STEPS,
    activation=None,
):
    """Full-batch training of a linear model; its kernel and bias."""
    layer = keras.layers.Dense(
        1, activation, use_bias=intercept, kernel_regularizer=penalty
    )
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(
        kreg.ProximalOptimizer(optimizer),
        loss,
        steps_per_execution=100 if BACKEND != "torch" else 1,
    )
    kreg.bind(model)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensors((x, y[:, None]))
        model.fit(batches.cache().repeat(steps), shuffle=False, verbose=0)
    else:
        batches = ((x, y[:, None]) for _ in range(steps))
        model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return [w.ravel() for w in model.get_weights()]


def assert_same(ours, theirs, tolerance=1e-4):
    np.testing.assert_array_equal(ours == 0.0, theirs == 0.0)
    assert np.abs(ours - theirs).max() < tolerance * np.abs(theirs).max()


def lasso(x, y, alpha=ALPHA, **arguments):
    model = Lasso(alpha, tol=1e-12, max_iter=100_000, **arguments)
    return model.fit(x.astype("float64"), y.astype("float64"))


# The step is the same mathematics on every backend; torch is slow at it.
FEW = ["SGD_momentum", "Adam"] if BACKEND != "torch" else ["SGD_momentum"]


def some(names):
    return list(names) if BACKEND == "tensorflow" else FEW


@pytest.mark.parametrize("name", some(OPTIMIZERS))
def test_lasso(name):
    x, y = data()
    (kernel,) = train(OPTIMIZERS[name](), kreg.L1(2 * ALPHA), x, y)
    assert_same(kernel, lasso(x, y, fit_intercept=False).coef_)


@pytest.mark.parametrize("name", some(OPTIMIZERS))
def test_elastic_net(name):
    x, y = data()
    penalty = kreg.L1L2(l1=2 * ALPHA * 0.6, l2=ALPHA * 0.4)
    (kernel,) = train(OPTIMIZERS[name](), penalty, x, y)
    theirs = ElasticNet(
        ALPHA, l1_ratio=0.6, fit_intercept=False, tol=1e-12, max_iter=100_000
    ).fit(x.astype("float64"), y.astype("float64"))
    assert_same(kernel, theirs.coef_)


@pytest.mark.parametrize("name", some(OPTIMIZERS))
def test_ridge(name):
    x, y = data()
    (kernel,) = train(OPTIMIZERS[name](), kreg.L2(ALPHA), x, y)
    theirs = Ridge(ALPHA * len(x), fit_intercept=False)
    assert_same(kernel, theirs.fit(x.astype("float64"), y).coef_)


@pytest.mark.parametrize("name", FEW)
def test_lasso_with_intercept(name):
    x, y = data()
    kernel, bias = train(
        OPTIMIZERS[name](), kreg.L1(2 * ALPHA), x, y + 3.0, intercept=True
    )
    theirs = lasso(x, y + 3.0)
    assert_same(kernel, theirs.coef_)
    assert bias[0] == pytest.approx(theirs.intercept_, abs=1e-3)


@pytest.mark.parametrize("name", FEW)
def test_lasso_on_columns_of_different_scale(name):
    x, y = data(correlated=False)
    x = x * np.geomspace(0.3, 3.0, 20).astype("float32")
    (kernel,) = train(OPTIMIZERS[name](), kreg.L1(2 * ALPHA), x, y)
    assert_same(kernel, lasso(x, y, fit_intercept=False).coef_)


@pytest.mark.parametrize("name", FEW)
def test_logistic_regression(name):
    x, y = data()
    labels = (y > 0).astype("float32")
    strength = 0.02
    (kernel,) = train(
        OPTIMIZERS[name](),
        kreg.L1(strength),
        x,
        labels,
        loss="binary_crossentropy",
        activation="sigmoid",
    )
    theirs = LogisticRegression(
        l1_ratio=1.0,
        C=1.0 / (strength * len(x)),
        solver="saga",
        tol=1e-10,
        max_iter=20_000,
        fit_intercept=False,
    ).fit(x.astype("float64"), labels)
    assert_same(kernel, theirs.coef_.ravel(), tolerance=1e-3)


def test_strength_above_the_critical_one_keeps_nothing():
    x, y = data()
    critical = 2 * np.abs(x.T @ y).max() / len(x)
    for factor, nothing in ((1.01, True), (0.9, False)):
        (kernel,) = train(
            optimizers.SGD(0.02, momentum=0.9),
            kreg.L1(factor * critical),
            x,
            y,
            steps=1000,
        )
        assert (not kernel.any()) == nothing


def test_keras_alone_has_no_zero():
    """What kreg is for."""
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
