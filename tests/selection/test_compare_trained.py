"""Comparisons of models that are trained, from end to end."""

import keras
import numpy as np
import pytest
from selection.compared_models import (
    OPTIONS,
    PENALTIES,
    data,
    linear_model,
)
from selection.path_records import without_seconds

from kreg import L1
from kreg.selection import Execution, Training, compare

pytestmark = pytest.mark.slow
QUICK = {
    **OPTIONS,
    "strengths": [0.3],
    "folds": 2,
    "training": Training(512, batch_size=None),
    "select": 0.1,
}


@pytest.fixture(scope="module", name="result")
def _result():
    return compare(
        linear_model, data(), PENALTIES, test=data(40, seed=1), **QUICK
    )


def test_the_weights_are_those_of_all_rows_at_the_chosen_strength(result):
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = data()
    lasso = linear.Lasso(result.chosen.strength / 2.0, tol=1e-8)
    lasso.fit(x.astype("float64"), y.ravel().astype("float64"))
    kernel, bias = result.weights
    np.testing.assert_allclose(kernel[:, 0], lasso.coef_, atol=2e-3)
    np.testing.assert_array_equal(kernel[:, 0] == 0.0, lasso.coef_ == 0.0)
    np.testing.assert_allclose(bias, lasso.intercept_, atol=2e-3)


def test_the_test_figures_are_those_of_the_weights(result):
    x, y = data(40, seed=1)
    kernel, bias = result.weights
    error = np.mean((x @ kernel + bias - y) ** 2)
    assert result.test["data_loss"] == pytest.approx(error, rel=1e-5)
    penalty = result.chosen.strength * np.abs(kernel).sum()
    assert result.test["loss"] == pytest.approx(error + penalty, rel=1e-5)


def test_the_weights_fit_a_new_model(result):
    model = linear_model()
    model.set_weights(result.weights)
    x, y = data(40, seed=1)
    loss = model.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(result.test["data_loss"], rel=1e-5)


def test_the_same_call_gives_the_same_result(result):
    again = compare(
        linear_model, data(), PENALTIES, test=data(40, seed=1), **QUICK
    )
    assert without_seconds(again) == without_seconds(result)
    for ours, theirs in zip(again.weights, result.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_accuracy_is_better_where_it_is_more():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")

    def build_model():
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(2, activation="softmax")]
        )
        sgd = keras.optimizers.SGD(0.1, momentum=0.9)
        model.compile(
            sgd, "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model

    options = {
        **QUICK,
        "training": Training(512, batch_size=None, monitor="accuracy"),
        "strengths": [5.0, 0.01],
        "select": "best",
    }
    result = compare(build_model, (x, y), [L1], **options)
    assert result.chosen.strength == 0.01
    assert result.chosen.mean > 0.85


def test_nothing_is_trained_twice_in_a_directory(tmp_path, result):
    kept = Execution(directory=tmp_path, verbose=0)
    options = {**QUICK, "execution": kept, "test": data(40, seed=1)}
    first = compare(linear_model, data(), PENALTIES, **options)
    assert without_seconds(first) == without_seconds(result)
    written = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.*")}
    again = compare(linear_model, data(), PENALTIES, **options)
    assert again == first
    assert written == {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.*")}
