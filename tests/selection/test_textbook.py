"""What the textbook says of L1 and L2, against scikit-learn on real data."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import ttest_1samp
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    QuantileRegressor,
    Ridge,
)

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
    """How many inputs of equal weights would have the same spread."""
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


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["l1", "l2", "both"])
def test_correlated_inputs_get_the_weights_of_the_peer(correlated, name):
    found, peers = correlated
    np.testing.assert_allclose(found[name], peers[name], atol=1e-4)


@pytest.mark.thorough
def test_l2_spreads_where_l1_picks(correlated):
    found, peers = correlated
    for weights in (found, peers):
        assert spread(weights["l2"][:4]) > 3.5
        assert spread(weights["l1"][:4]) < 2.5


@pytest.mark.thorough
def test_both_keep_the_group_and_drop_other_inputs(correlated):
    found, peers = correlated
    for weights in (found, peers):
        assert np.sum(weights["l1"][:4] != 0.0) < 4
        assert np.all(weights["both"][:4] != 0.0)
        assert np.any(weights["both"][4:] == 0.0)


PATH = Path(__file__).parents[2] / "examples" / "textbook.py"


@pytest.fixture(scope="module")
def textbook():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("textbook", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Means that a statement follows from, by column and row; and what to change so
# that only a part of it does, and so that nothing does.
PLANTED = {
    "L1 gives exact zeros, and L2 does not": (
        {"zeros of 30": {"L1": 9.0, "L2": 0.0, "L1 in the loss": 8.0}},
        {"zeros of 30": {"L1 in the loss": 0.0}},
        {"zeros of 30": {"L1": 0.0, "L2": 3.0, "L1 in the loss": 0.0}},
    ),
    "L1 selects inputs": (
        {"noise kept": {"L1, best": 1.0, "L1, 1 SE": 0.0, "L2, best": 30.0}},
        {"noise kept": {"L1, best": 8.0}},
        {"noise kept": {"L1, best": 30.0, "L1, 1 SE": 30.0}},
    ),
    "L2 spreads evenly over correlated inputs where L1 picks": (
        {
            "kept": {
                "copies, L1": 0.5,
                "sizes, L1": 0.5,
                "copies, L2": 1.0,
                "sizes, L2": 1.0,
            },
            "spread": {
                "copies, L1": 0.4,
                "sizes, L1": 0.4,
                "copies, L2": 0.96,
                "sizes, L2": 0.96,
            },
        },
        {"spread": {"copies, L2": 0.8}},
        {
            "kept": {"copies, L1": 1.0, "sizes, L1": 1.0},
            "spread": {"copies, L2": 0.4, "sizes, L2": 0.4},
        },
    ),
    "L1 + L2 keep groups of correlated inputs": (
        {
            "kept": {
                "copies, L1": 0.5,
                "sizes, L1": 0.5,
                "copies, both": 0.96,
                "sizes, both": 0.96,
            },
            "others dropped": {"copies, both": 0.5},
        },
        {"kept": {"copies, both": 0.8}},
        {
            "kept": {"copies, both": 0.5, "sizes, both": 0.5},
            "others dropped": {"copies, both": 0.0},
        },
    ),
    "Regularization narrows the gap between training and test": (
        {
            "gap": {"none": 0.2, "L1": 0.1, "L2": 0.1},
            "test": {"none": 0.3, "L1": 0.2, "L2": 0.2},
        },
        {"test": {"L1": 0.4}},
        {"gap": {"L1": 0.3, "L2": 0.2}, "test": {"L1": 0.3, "L2": 0.4}},
    ),
    "L1 is more robust to outliers": (
        {
            "targets": {
                "squared": 2.0,
                "absolute": 0.5,
                "with L1": 1.0,
                "with L2": 1.5,
            },
            "inputs": {"squared": 2.0, "absolute": 0.5, "with L1": 1.0},
        },
        {"targets": {"with L1": 2.0}},
        {
            "targets": {"absolute": 2.0, "with L1": 2.0},
            "inputs": {"absolute": 2.0, "with L1": 2.5},
        },
    ),
}


def figures_of(*layers):
    """Figures of ten splits, a little apart, around the last means given."""
    figures = {}
    for layer in layers:
        for column, means in layer.items():
            for place, (row, mean) in enumerate(means.items()):
                apart = 0.01 * np.sin(np.arange(10.0) + place)
                figures.setdefault(row, {})[column] = mean * (1 + apart)
    return figures


def test_every_statement_has_planted_figures(textbook):
    assert PLANTED.keys() == textbook.STATEMENTS.keys()


@pytest.mark.parametrize("statement", PLANTED)
def test_a_statement_whose_claims_are_all_found_holds(textbook, statement):
    holding, _, _ = PLANTED[statement]
    claims = textbook.STATEMENTS[statement]
    assert textbook.verdict(figures_of(holding), claims) == "holds"


@pytest.mark.parametrize("statement", PLANTED)
def test_a_statement_of_which_some_is_found_holds_in_part(textbook, statement):
    holding, partly, _ = PLANTED[statement]
    claims = textbook.STATEMENTS[statement]
    said = textbook.verdict(figures_of(holding, partly), claims)
    assert said.startswith("holds in part: ")
    found, others = said.split(". No evidence that ")
    assert sum(claim in found for claim in claims) > 0
    assert sum(claim in others for claim in claims) > 0


@pytest.mark.parametrize("statement", PLANTED)
def test_a_statement_of_which_nothing_is_found_does_not_hold(
    textbook, statement
):
    holding, _, nothing = PLANTED[statement]
    claims = textbook.STATEMENTS[statement]
    said = textbook.verdict(figures_of(holding, nothing), claims)
    assert said.startswith("does not hold: no evidence that ")
    assert all(claim in said for claim in claims)


def test_a_lead_that_its_interval_does_not_tell_from_zero(textbook):
    lead = np.array([1.0, -0.9, 1.1, -0.8, 1.0, -1.0])
    figures = {"a": {"x": 5.0 + lead}, "b": {"x": np.full(6, 5.0)}}
    assert lead.mean() > 0
    assert not textbook.is_found(figures, "x", "a", "b")
    assert textbook.is_found(figures, "x", "a", 3.0)


def test_leads_are_split_by_split(textbook):
    base, ahead = np.array([1.0, 100.0, 1e4]), np.array([0.5, 0.6, 0.4])
    figures = {"a": {"x": base + ahead}, "b": {"x": base}}
    assert textbook.is_found(figures, "x", "a", "b")


def test_intervals_are_those_of_the_t_test(textbook):
    values = np.random.default_rng(0).normal(size=12)
    low, high = ttest_1samp(values, 0.0).confidence_interval(0.95)
    mean, half = textbook.interval(values)
    np.testing.assert_allclose([mean - half, mean + half], [low, high])


def test_the_strongest_within_a_standard_error_is_chosen(textbook):
    losses = np.random.default_rng(0).normal(
        [[[1.20]], [[1.05]], [[1.00]], [[1.10]]], 1.0, size=(4, 50, 30)
    )
    best, splits = textbook.chosen(losses)
    within, _ = textbook.chosen(losses, errors=1.0)
    for split in splits:
        means = losses[:, :, split].mean(axis=1)
        lowest = int(np.argmin(means))
        error = losses[lowest, :, split].std() / 50**0.5
        allowed = [i for i in range(4) if means[i] <= means[lowest] + error]
        assert best[split] == lowest
        assert within[split] == min(allowed)


SPLITS = range(0, 20, 4)


@pytest.mark.slow
def test_logistic_fits_have_the_zeros_of_the_peer(textbook):
    x, y = textbook.shuffled(*load_breast_cancer(return_X_y=True))
    x, y = textbook.scaled(x, 284)[:284], y[:284]
    strengths = [0.05, 0.01]
    kernels, _ = textbook.solved(
        x, y, kreg.L1, strengths, textbook.LOGISTIC, 0.3
    )
    for strength, kernel in zip(strengths, kernels, strict=True):
        for split in SPLITS:
            peer = LogisticRegression(
                l1_ratio=1.0,
                C=1 / (284 * strength),
                solver="saga",
                tol=1e-6,
                max_iter=20000,
            ).fit(x[:, split], y[:, split])
            zeros = np.sum(kernel[split] == 0.0)
            assert abs(zeros - np.sum(peer.coef_ == 0.0)) <= 1


def absolute(x, y, kernel, bias):
    return np.mean(np.abs(x @ kernel + bias - y))


def huber(x, y, kernel, bias):
    off = np.abs(x @ kernel + bias - y)
    return np.mean(np.where(off <= 1.0, off**2 / 2, off - 0.5))


def least_absolute(x, y):
    fit = QuantileRegressor(alpha=0.0, solver="highs").fit(x, y)
    return fit.coef_, fit.intercept_


def least_huber(x, y):
    def loss(parameters):
        return huber(x, y, parameters[:-1], parameters[-1])

    found = minimize(loss, np.zeros(x.shape[1] + 1), method="BFGS").x
    return found[:-1], found[-1]


def moved(kernels):
    """How far wrong targets, and wrong inputs, move the clean weights."""
    clean, *others = np.split(kernels, 3)
    return [
        np.mean(np.abs(w - clean).sum(axis=1) / np.abs(clean).sum(axis=1))
        for w in others
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "loss", "peer"),
    [("mae", absolute, least_absolute), ("huber", huber, least_huber)],
)
def test_robust_fits_have_converged(textbook, name, loss, peer):
    inputs, targets = (v[:221] for v in textbook.with_outliers())
    (kernels,), (biases,) = textbook.solved(
        inputs, targets, kreg.L2, [0.0], name, textbook.FALLING
    )
    peers = []
    for split in range(60):
        x, y = inputs[:, split], targets[:, split]
        kernel, bias = peer(x, y)
        reached = loss(x, y, kernels[split], biases[split])
        assert reached <= loss(x, y, kernel, bias) + 2e-4
        peers.append(kernel)
    np.testing.assert_allclose(
        moved(kernels), moved(np.array(peers)), atol=0.02
    )
