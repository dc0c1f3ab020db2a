"""Whole paths are those that scikit-learn computes."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import (
    LogisticRegression,
    MultiTaskLasso,
    enet_path,
    lasso_path,
)
from sklearn.preprocessing import scale

import kreg
from kreg.selection import StrengthGrid, Training, path

pytestmark = pytest.mark.slow
EPOCHS = 2000


def data(load):
    x, y = load(return_X_y=True)
    return scale(x), y


def solved(x, y, penalty, *, rate, loss="mse", activation=None, **arguments):
    units = y.shape[1] if y.ndim == 2 else int(y.max()) + 1
    if activation != "softmax" and y.ndim == 1:
        units = 1

    def build_model():
        layer = keras.layers.Dense(units, activation)
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        model.compile(keras.optimizers.SGD(rate, momentum=0.95), loss)
        return model

    result = path(
        build_model,
        (x, y),
        penalty,
        training=Training(epochs=EPOCHS, batch_size=None, tolerance=1e-7),
        verbose=0,
        **arguments,
    )
    strengths = np.array([point.strength for point in result.points])
    return strengths, np.array([weights[0] for weights in result.weights])


def assert_close(ours, theirs):
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max()


def test_lasso_path():
    x, y = data(load_diabetes)
    strengths, kernels = solved(
        x, y, kreg.L1, rate=0.05, strengths=StrengthGrid(20)
    )
    _, theirs, _ = lasso_path(x, y - y.mean(), alphas=strengths / 2, tol=1e-10)
    assert_close(kernels[:, :, 0], theirs.T)


def test_elastic_net_path():
    x, y = data(load_diabetes)
    strengths, kernels = solved(
        x,
        y,
        lambda s: kreg.L1L2(0.5 * s, 0.25 * s),
        rate=0.05,
        strengths=StrengthGrid(20),
    )
    _, theirs, _ = enet_path(
        x, y - y.mean(), alphas=strengths / 2, l1_ratio=0.5, tol=1e-10
    )
    assert_close(kernels[:, :, 0], theirs.T)


def test_elastic_net_with_one_l2_for_all():
    x, y = data(load_diabetes)
    strengths, kernels = solved(
        x, y, lambda s: kreg.L1L2(s, 0.1), rate=0.05, strengths=StrengthGrid(5)
    )
    for strength, kernel in zip(strengths[1:], kernels[1:], strict=True):
        alpha = strength / 2 + 0.1
        _, theirs, _ = enet_path(
            x,
            y - y.mean(),
            alphas=[alpha],
            l1_ratio=strength / 2 / alpha,
            tol=1e-10,
        )
        assert_close(kernel, theirs)


@pytest.mark.parametrize(
    ("load", "loss", "activation"),
    [
        (load_breast_cancer, "binary_crossentropy", "sigmoid"),
        (load_wine, "sparse_categorical_crossentropy", "softmax"),
    ],
)
def test_logistic_path(load, loss, activation):
    x, y = data(load)
    strengths, kernels = solved(
        x,
        y,
        kreg.L1,
        rate=0.2,
        loss=loss,
        activation=activation,
        strengths=StrengthGrid(6, ratio=0.03),
    )
    for strength, kernel in zip(strengths[1:], kernels[1:], strict=True):
        theirs = LogisticRegression(
            l1_ratio=1.0,
            C=1.0 / (strength * len(x)),
            solver="saga",
            tol=1e-8,
            max_iter=20_000,
        ).fit(x, y)
        assert_close(kernel, theirs.coef_.T)


def test_several_outputs_with_one_group_for_each_input():
    x, y = data(load_diabetes)
    y = np.stack([y, y[::-1] + y], axis=1)
    strengths, kernels = solved(
        x,
        y,
        lambda s: kreg.GroupLasso(s, "inputs"),
        rate=0.05,
        strengths=StrengthGrid(6),
    )
    for strength, kernel in zip(strengths[1:], kernels[1:], strict=True):
        # Keras's loss is a mean over outputs too.
        alpha = strength * np.sqrt(2)
        theirs = MultiTaskLasso(alpha, tol=1e-10, max_iter=50_000).fit(x, y)
        assert_close(kernel, theirs.coef_.T)
