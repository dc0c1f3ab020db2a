"""Every row is seen once a pass, in an order that the seed decides."""

import keras
import numpy as np
import pytest

import kreg
from kreg.selection import Training, path
from kreg.selection.data.order import Order

ROWS, RATE = 6, 0.25


def one_weight_a_row():
    """A model whose weights count how often each row was seen."""
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Zeros()
    )
    model = keras.Sequential([keras.Input((ROWS,)), layer])
    model.compile(keras.optimizers.SGD(RATE), "mse")
    return model


@pytest.mark.parametrize(("batch_size", "epochs"), [(2, 7), (3, 20), (6, 5)])
def test_every_row_is_seen_once_a_pass(batch_size, epochs):
    data = np.eye(ROWS, dtype="float32"), np.full((ROWS, 1), 0.5, "float32")
    result = path(
        one_weight_a_row,
        data,
        kreg.L1,
        [0.0],
        training=Training(epochs=epochs, batch_size=batch_size, tolerance=None),
        verbose=0,
    )
    # Each time that a row is seen takes the same share of what is left.
    expected = 0.5 - 0.5 * (1.0 - 2.0 * RATE / batch_size) ** epochs
    np.testing.assert_allclose(result.weights[0][0], expected, rtol=1e-5)


@pytest.mark.thorough
def test_as_many_passes_are_made_as_asked():
    data = np.eye(ROWS, dtype="float32"), np.full((ROWS, 1), 0.5, "float32")
    batch_size = 2
    for epochs in (1, 2, 7, 12):
        result = path(
            one_weight_a_row,
            data,
            kreg.L1,
            [0.1, 0.2],
            training=Training(epochs, batch_size=batch_size, tolerance=None),
            verbose=0,
        )
        for point in result.points:
            assert point.epochs == epochs
            assert point.steps == epochs * ROWS // batch_size


def test_each_pass_has_an_order_of_its_own():
    order = Order(50, 8, 2)
    order.begin((3, 1))
    passes = [*order.next_epoch(), *order.next_epoch()]
    assert len({tuple(rows) for rows in passes}) == 4
    for rows in passes:
        np.testing.assert_array_equal(np.sort(rows), np.arange(50))


def test_the_order_begins_anew_with_its_seed():
    order = Order(50, 8, 1)
    found = []
    for seed in [(3, 1), (3, 1), (3, 2)]:
        order.begin(seed)
        found.append(order.next_epoch()[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
