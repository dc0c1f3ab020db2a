"""Feature selectors keep scikit-learn's conventions."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from selection.linear_models import linear, logistic, slow_linear
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    LassoCV,
    LinearRegression,
    LogisticRegression,
)
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import kreg
from kreg.selection import (
    Execution,
    FeatureSelector,
    StabilitySelector,
    StrengthGrid,
    Training,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6))
Y = 3.0 * X[:, 1] - 1.5 * X[:, 4] + RNG.normal(size=120)
FULL = {"training": Training(200, batch_size=None)}
FAST = {
    "training": Training(200, batch_size=None, tolerance=1e-2),
    "strengths": StrengthGrid(8, ratio=0.05),
}


def standardized(bunch):
    x = StandardScaler().fit_transform(bunch.data)
    return x, (bunch.target - bunch.target.mean()) / bunch.target.std()


@pytest.mark.thorough
def test_support_is_that_of_lasso_cv_at_the_same_strength():
    x, y = standardized(load_diabetes())
    lasso = LassoCV(cv=5).fit(x, y)
    selector = FeatureSelector(
        slow_linear,
        strength=2.0 * lasso.alpha_,
        training=Training(4000, batch_size=None, tolerance=1e-5),
    ).fit(x, y)
    expected = lasso.coef_ != 0.0
    assert 0 < expected.sum() < len(expected)
    np.testing.assert_array_equal(selector.support_, expected)


@pytest.mark.thorough
def test_support_is_that_of_logistic_regression():
    bunch = load_breast_cancer()
    x, _ = standardized(bunch)
    strength = 0.08
    # Its loss is a sum over rows: C = 1 / (rows * strength).
    reference = LogisticRegression(
        l1_ratio=1.0,
        solver="saga",
        C=1.0 / (len(x) * strength),
        tol=1e-6,
        max_iter=20000,
    ).fit(x, bunch.target)
    selector = FeatureSelector(
        logistic,
        kreg.L1,
        strength=strength,
        training=Training(4000, batch_size=None, tolerance=1e-5),
    ).fit(x, bunch.target)
    expected = reference.coef_[0] != 0.0
    assert 0 < expected.sum() < len(expected)
    np.testing.assert_array_equal(selector.support_, expected)


@pytest.mark.thorough
def test_strength_selects_the_planted_features():
    selector = FeatureSelector(linear, strength=1.0, **FULL)
    kept = selector.fit_transform(X, Y)
    np.testing.assert_array_equal(kept, X[:, [1, 4]])
    assert selector.get_support(indices=True).tolist() == [1, 4]


@pytest.mark.thorough
def test_num_features_takes_the_first_to_enter():
    selector = FeatureSelector(linear, num_features=1, **FAST)
    assert selector.fit(X, Y).get_support(indices=True).tolist() == [1]


@pytest.mark.thorough
def test_validation_alone_keeps_the_planted_features():
    selector = FeatureSelector(linear, **FAST).fit(X, Y)
    assert {1, 4} <= set(selector.get_support(indices=True))
    best = selector.path_.best()
    assert best.selected_inputs == tuple(selector.get_support(indices=True))


@pytest.mark.slow
def test_stability_selector():
    selector = StabilitySelector(
        linear,
        pairs=1,
        expected_false=1.6,
        training=Training(50, batch_size=None, tolerance=1e-2),
        strengths=FAST["strengths"],
    ).fit(X, Y)
    assert selector.get_support(indices=True).tolist() == [1, 4]
    assert selector.stability_.selected == (1, 4)


@pytest.mark.thorough
def test_names_of_the_features():
    selector = FeatureSelector(linear, strength=1.0, **FULL)
    names = ["a", "b", "c", "d", "e", "f"]
    out = selector.fit(X, Y).get_feature_names_out(names)
    assert out.tolist() == ["b", "e"]


@pytest.mark.thorough
def test_labels_may_be_words():
    words = np.where(Y > 0, "yes", "no")
    by_words = FeatureSelector(logistic, strength=0.1, **FULL)
    by_numbers = clone(by_words)
    by_words.fit(X, words)
    by_numbers.fit(X, (Y > 0).astype("int64"))
    assert 0 < by_words.support_.sum() < 6
    np.testing.assert_array_equal(by_words.support_, by_numbers.support_)


def test_rows_of_no_weight_have_no_say():
    x = np.concatenate([X, X])
    y = np.concatenate([Y, 50.0 * X[:, 0]])
    weight = np.repeat([1.0, 0.0], 120)
    selector = FeatureSelector(linear, strength=0.5, **FULL)
    selector.fit(x, y, sample_weight=weight)
    assert selector.get_support(indices=True).tolist() == [1, 4]


@pytest.mark.parametrize(
    "selector",
    [
        FeatureSelector(linear, kreg.L1, strength=0.3, seed=7),
        StabilitySelector(linear, pairs=3, threshold=0.9),
    ],
)
def test_parameters_are_cloned_and_set(selector):
    copy = clone(selector)
    assert copy.get_params() == selector.get_params()
    copy.set_params(training=Training(5))
    assert (copy.training, selector.training) == (Training(5), None)


def test_what_training_holds_is_set_by_name():
    selector = StabilitySelector(linear)
    assert selector.get_params()["training__epochs"] == 200
    selector.set_params(training__epochs=5, execution__verbose=1, pairs=2)
    assert selector.training == Training(5)
    assert selector.execution.verbose == 1
    assert selector.get_params()["training__epochs"] == 5
    selector.set_params(training=Training(7), training__refit=True)
    assert selector.training == Training(7, refit=True)


@pytest.mark.parametrize("name", ["training__epoch", "trainings__epochs"])
def test_what_cannot_be_set_is_refused(name):
    with pytest.raises((TypeError, ValueError), match=r"epoch|trainings"):
        FeatureSelector(linear).set_params(**{name: 5})


@pytest.mark.slow
def test_a_search_sets_what_training_holds():
    pipeline = make_pipeline(
        FeatureSelector(linear, strength=1.0, training=Training(5)),
        LinearRegression(),
    )
    grid = {"featureselector__training__epochs": [1, 40]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
    epochs = search.best_params_["featureselector__training__epochs"]
    best = search.best_estimator_[0]
    assert best.path_.points[0].epochs == epochs


def test_a_clone_runs_where_the_original_does():
    with ThreadPoolExecutor(1) as executor:
        execution = Execution(executor, verbose=0)
        selector = StabilitySelector(linear, execution=execution)
        assert clone(selector).execution.executor is executor


@pytest.mark.thorough
def test_a_fitted_selector_is_pickled():
    selector = FeatureSelector(linear, strength=1.0, **FULL)
    selector.fit(X, Y)
    copy = pickle.loads(pickle.dumps(selector))
    np.testing.assert_array_equal(copy.transform(X), selector.transform(X))


def test_fitting_comes_first():
    with pytest.raises(NotFittedError):
        FeatureSelector(linear).transform(X)


def test_strength_and_number_exclude_each_other():
    selector = FeatureSelector(linear, strength=1.0, num_features=2)
    with pytest.raises(ValueError, match=r"strength=1.0, num_features=2"):
        selector.fit(X, Y)


def test_build_model_is_told_the_number_of_features():
    told = []

    def build_model(num_features):
        told.append(num_features)
        return linear(num_features)

    selector = FeatureSelector(build_model, strength=1.0, training=Training(1))
    selector.fit(X[:, :4], Y)
    assert set(told) == {4}


@pytest.mark.slow
def test_selection_in_a_pipeline_does_not_see_the_rows_left_out():
    # Labels have nothing to do with the features, so the truth is 0.5.
    x = np.random.default_rng(1).normal(size=(60, 600))
    y = np.repeat([0, 1], 30)
    selector = FeatureSelector(
        logistic,
        num_features=15,
        training=Training(50, batch_size=None, tolerance=1e-2),
        strengths=StrengthGrid(20, ratio=0.2),
    )
    classifier = LogisticRegression()
    leaking = cross_val_score(classifier, selector.fit_transform(x, y), y)
    honest = cross_val_score(
        make_pipeline(StandardScaler(), selector, classifier), x, y
    )
    assert leaking.mean() > 0.75
    assert abs(honest.mean() - 0.5) < 0.2


def test_scikit_learn_is_named_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "kreg\[selection\]"'):
        kreg.selection.FeatureSelector(linear)


def test_what_does_not_exist():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = kreg.selection.Nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    "selector",
    [
        FeatureSelector(
            partial(linear, learning_rate=0.01),
            strength=0.01,
            training=Training(2, batch_size=None),
        ),
        StabilitySelector(
            partial(linear, learning_rate=0.01),
            training=Training(2, batch_size=None),
            pairs=1,
            expected_false=200.0,
            strengths=[1e-4],
        ),
    ],
    ids=["one path", "halves"],
)
def test_conventions_of_scikit_learn(selector):
    check_estimator(selector, on_skip=None)


def test_halves_need_rows():
    with pytest.raises(ValueError, match="minimum of 4 is required"):
        StabilitySelector(linear).fit(X[:3], Y[:3])
