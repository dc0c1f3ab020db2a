"""The same strengths are chosen as scikit-learn's cross-validation chooses."""

import keras
import numpy as np
import pytest

import kreg
from kreg.selection import Execution, Training, compare

datasets = pytest.importorskip("sklearn.datasets")
linear_model = pytest.importorskip("sklearn.linear_model")
model_selection = pytest.importorskip("sklearn.model_selection")

pytestmark = pytest.mark.slow
RATIO = 0.5


@pytest.fixture(scope="module", name="data")
def _data():
    x, y = datasets.load_diabetes(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return x, (y - y.mean()) / y.std()


@pytest.fixture(scope="module", name="folds")
def _folds(data):
    splitter = model_selection.KFold(5, shuffle=True, random_state=0)
    return list(splitter.split(data[0]))


def build_model():
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def elastic_net(strength):
    # Of twice scikit-learn's objective, whose L2 has a half.
    return kreg.L1L2(strength * RATIO, strength * (1.0 - RATIO) / 2.0)


@pytest.fixture(scope="module", params=["lasso", "elastic net"], name="both")
def _both(request, data, folds):
    """scikit-learn's model, and the comparisons by two rules."""
    alphas = np.geomspace(0.3, 0.003, 10)
    if request.param == "lasso":
        theirs = linear_model.LassoCV(alphas=alphas, cv=folds, tol=1e-8)
        penalty = kreg.L1
    else:
        theirs = linear_model.ElasticNetCV(
            alphas=alphas, cv=folds, tol=1e-8, l1_ratio=RATIO
        )
        penalty = elastic_net
    theirs.fit(*data)
    ours = {
        select: compare(
            build_model,
            data,
            {"ours": penalty},
            strengths=2.0 * alphas,
            folds=folds,
            select=select,
            training=Training(epochs=3000, batch_size=None, tolerance=1e-5),
            execution=Execution(verbose=0),
        )
        for select in ("best", "one_standard_error")
    }
    return theirs, ours


def test_the_errors_of_every_fold(both):
    theirs, ours = both
    scores = np.array([row.scores for row in ours["best"].rows])
    order = np.argsort(theirs.alphas_)[::-1]
    np.testing.assert_allclose(scores, theirs.mse_path_[order], rtol=1e-3)


def test_the_best_strength(both):
    theirs, ours = both
    chosen = ours["best"].chosen
    assert chosen.strength == pytest.approx(2.0 * theirs.alpha_)


def test_the_strength_by_one_standard_error(both):
    theirs, ours = both
    means = theirs.mse_path_.mean(axis=1)
    best = means.argmin()
    error = theirs.mse_path_[best].std(ddof=1) / np.sqrt(5)
    within = theirs.alphas_[means <= means[best] + error]
    chosen = ours["one_standard_error"].chosen
    assert chosen.strength == pytest.approx(2.0 * within.max())
    assert chosen.strength > ours["best"].chosen.strength


def test_the_weights_of_all_rows(both):
    theirs, ours = both
    kernel, bias = ours["best"].weights
    np.testing.assert_allclose(kernel[:, 0], theirs.coef_, atol=1e-3)
    np.testing.assert_array_equal(kernel[:, 0] == 0.0, theirs.coef_ == 0.0)
    assert bias[0] == pytest.approx(theirs.intercept_, abs=1e-3)
