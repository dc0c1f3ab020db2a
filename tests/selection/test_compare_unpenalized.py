"""A model without a penalty may train as long as one with a penalty."""

import keras
import numpy as np
import pytest
from selection.compared_models import data

from kreg import L1
from kreg.selection import Execution, StrengthGrid, Training, compare, path
from kreg.selection.data.rows import training_data
from kreg.selection.paths.task import PathTask
from kreg.selection.strengths.grid import Unpenalized

STRENGTHS = [0.3, 0.1, 0.03, 0.01]


def slow_linear_model():
    """A model that is far from its minimum after 32 passes."""
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
    result = compare(
        slow_linear_model,
        (x, y),
        {"none": None, "L1": L1},
        training=Training(64, batch_size=None),
        strengths=STRENGTHS,
        folds=folds,
        execution=Execution(verbose=0),
    )
    (row,) = result.rows_of("none")
    assert row.epochs > 64
    np.testing.assert_allclose(
        row.scores, left_out_errors(x, y, folds), rtol=1e-3
    )


def portions(number):
    """The path of a network without a penalty."""
    return PathTask(
        network,
        training_data(data()),
        L1,
        Unpenalized(number),
        Training(5, tolerance=None, batch_size=None),
        seed=0,
    ).run(verbose=0)


def test_a_network_is_looked_at_after_each_portion():
    points = portions(4).points
    assert [p.strength for p in points] == [0.0] * 4
    assert [p.epochs for p in points] == [5] * 4
    losses = [p.train["data_loss"] for p in points]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.thorough
def test_the_first_portion_is_the_dense_start_of_a_path():
    training = Training(5, tolerance=None, batch_size=None)
    grid = StrengthGrid(2)
    result = path(network, data(), L1, grid, training=training, verbose=0)
    dense, first = result.start, portions(1).points[0]
    assert dense.train["data_loss"] == first.train["data_loss"]


def test_of_a_linear_model_all_passes_are_one_point():
    linear = Unpenalized.beside(3, linear=True)
    assert list(linear.values) == [0.0]
    assert linear.length == 3
    network = Unpenalized.beside(3, linear=False)
    assert list(network.values) == [0.0] * 3
    assert network.length == 1
