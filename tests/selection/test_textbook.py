"""What the textbook says of L1 and L2, against scikit-learn on real data."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, Ridge

import kreg

ROWS, STEPS = 442, 600


def diabetes(copies=0):
    """The data with noisy copies of the body mass index in front."""
    rng = np.random.default_rng(0)
    x, y = load_diabetes(return_X_y=True)
    noise = rng.normal(scale=0.007, size=(ROWS, copies))
    if copies:
        x = np.hstack([x[:, [2]] + noise, np.delete(x, 2, axis=1)])
    return (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()


def trained(x, y, penalty):
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    sgd = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    model.compile(kreg.ProximalOptimizer(sgd), "mse")
    kreg.bind(model)
    data = ((x, y[:, None]) for _ in range(STEPS))
    model.fit(data, steps_per_epoch=STEPS, shuffle=False, verbose=0)
    return keras.ops.convert_to_numpy(layer.kernel)[:, 0]


def spread(w):
    """The number of inputs that an even spread would need."""
    return np.sum(np.abs(w)) ** 2 / np.sum(w**2)


def test_l1_has_the_zeros_of_the_lasso():
    x, y = diabetes()
    w = trained(x, y, kreg.L1(0.1))
    lasso = Lasso(alpha=0.05, fit_intercept=False, tol=1e-10).fit(x, y)
    assert 0 < np.sum(w == 0.0) < len(w)
    np.testing.assert_array_equal(w == 0.0, lasso.coef_ == 0.0)
    np.testing.assert_allclose(w, lasso.coef_, atol=1e-5)


def test_l2_has_no_zero_and_is_ridge():
    x, y = diabetes()
    w = trained(x, y, kreg.L2(0.1))
    ridge = Ridge(alpha=0.1 * ROWS, fit_intercept=False).fit(x, y)
    assert np.all(w != 0.0)
    np.testing.assert_allclose(w, ridge.coef_, atol=1e-5)


@pytest.fixture(scope="module")
def correlated():
    """The weights of four copies under L1, L2 and both."""
    x, y = diabetes(copies=4)
    found = {
        "l1": trained(x, y, kreg.L1(0.1)),
        "l2": trained(x, y, kreg.L2(0.1)),
        "both": trained(x, y, kreg.L1L2(0.1, 0.1)),
    }
    # Keras's `mse + l1 |w| + l2 w ** 2` is twice scikit-learn's objective.
    fits = {
        "l1": Lasso(alpha=0.05, fit_intercept=False, tol=1e-10),
        "l2": Ridge(alpha=0.1 * ROWS, fit_intercept=False),
        "both": ElasticNet(
            alpha=0.15, l1_ratio=1 / 3, fit_intercept=False, tol=1e-10
        ),
    }
    peers = {name: fit.fit(x, y).coef_ for name, fit in fits.items()}
    return found, peers


@pytest.mark.parametrize("name", ["l1", "l2", "both"])
def test_correlated_inputs_get_the_weights_of_the_peer(correlated, name):
    found, peers = correlated
    np.testing.assert_allclose(found[name], peers[name], atol=1e-4)


def test_l2_spreads_where_l1_picks(correlated):
    found, peers = correlated
    for weights in (found, peers):
        assert spread(weights["l2"][:4]) > 3.5
        assert spread(weights["l1"][:4]) < 2.5


def test_both_keep_the_group_and_drop_other_inputs(correlated):
    found, peers = correlated
    for weights in (found, peers):
        assert np.sum(weights["l1"][:4] != 0.0) < 4
        assert np.all(weights["both"][:4] != 0.0)
        assert np.any(weights["both"][4:] == 0.0)
