"""No penalty is trained as long as penalties are."""

import keras
import numpy as np
import pytest
from selection.compared_models import data

from kreg import L1
from kreg.selection import compare, path
from kreg.selection.paths.path import Unpenalized

STRENGTHS = [0.3, 0.1, 0.03, 0.01]
FULL = {"batch_size": None, "verbose": 0}


def slow_linear_model():
    """Far from its minimum after 32 passes."""
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse")
    return model


def network():
    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def left_out_errors(x, y, folds):
    """Those of least squares, with NumPy."""
    x = np.column_stack([x.astype("float64"), np.ones(len(x))])
    found = []
    for train, validation in folds:
        solution, *_ = np.linalg.lstsq(x[train], y[train], rcond=None)
        found.append(np.mean((x[validation] @ solution - y[validation]) ** 2))
    return found


@pytest.mark.slow
def test_a_linear_model_reaches_the_minimum_beside_a_path_of_short_points():
    x, y = data()
    order = np.arange(48)
    folds = [(order[16:], order[:16]), (order[:32], order[32:])]
    options = {"strengths": STRENGTHS, "folds": folds, "epochs": 64}
    result = compare(
        slow_linear_model, (x, y), {"none": None, "L1": L1}, **options, **FULL
    )
    (row,) = result.rows_of("none")
    assert row.epochs > 64
    np.testing.assert_allclose(
        row.scores, left_out_errors(x, y, folds), rtol=1e-3
    )


def test_a_network_is_looked_at_after_each_portion():
    portions = path(
        network,
        data(),
        L1,
        Unpenalized(points=3, portions=4),
        epochs=5,
        tolerance=None,
        **FULL,
    )
    assert [p.strength for p in portions.points] == [0.0] * 4
    assert [p.epochs for p in portions.points] == [5] * 4
    losses = [p.train["data_loss"] for p in portions.points]
    assert losses == sorted(losses, reverse=True)


def test_the_first_portion_is_the_dense_start_of_a_path():
    options = {"epochs": 5, "tolerance": None, **FULL}
    portions = path(network, data(), L1, Unpenalized(1, 1), **options)
    dense = path(network, data(), L1, num_strengths=2, **options).start
    assert dense.train["data_loss"] == portions.points[0].train["data_loss"]


def test_of_a_linear_model_all_passes_are_one_point():
    both = Unpenalized(points=3, portions=4)
    assert both.strengths(linear=True) == [0.0]
    assert both.epochs(5, linear=True) == 15
    assert both.strengths(linear=False) == [0.0] * 4
    assert both.epochs(5, linear=False) == 5
