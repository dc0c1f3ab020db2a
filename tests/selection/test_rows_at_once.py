"""Big models are evaluated on few rows at once."""

import keras
import numpy as np
import pytest
from keras import layers

from kreg.selection import Arrays, strength_max
from kreg.selection.data.batches import some_rows
from kreg.selection.training.gradient import rows_at_once


def test_a_small_model_takes_many():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    assert rows_at_once(model) == 4096


def test_the_outputs_of_all_layers_count_nested_ones_too():
    inner = keras.Sequential(
        [keras.Input((64, 64, 3)), layers.Conv2D(8, 3, padding="same")]
    )
    inputs = keras.Input((64, 64, 3))
    model = keras.Model(inputs, layers.Flatten()(inner(inputs)))
    images, maps = 64 * 64 * 3, 64 * 64 * 8
    # The inputs of both models, the maps as they are, and the same flat.
    assert rows_at_once(model) == 2**24 // (2 * images + 2 * maps)


def test_a_huge_model_takes_as_many_as_keras_would():
    inputs = keras.Input((512, 512, 3))
    model = keras.Model(inputs, layers.Conv2D(64, 3)(inputs))
    assert rows_at_once(model) == 32


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x):
        return self.dense(x)


def of_any_length():
    inputs = keras.Input((None, 4))
    return keras.Model(inputs, layers.GlobalAveragePooling1D()(inputs))


@pytest.mark.parametrize("build", [Subclassed, of_any_length])
def test_an_unknown_size_counts_as_huge(build):
    assert rows_at_once(build()) == 32


def test_some_rows_of_arrays_are_spread():
    rows = some_rows(Arrays(np.arange(101), np.arange(101)), 11)
    np.testing.assert_array_equal(rows.x, np.arange(0, 101, 10))
    np.testing.assert_array_equal(rows.y, rows.x)
    few = Arrays(np.arange(5), np.arange(5))
    assert some_rows(few, 11) is few


class Batches(keras.utils.PyDataset):
    """Records which of its batches were read."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y
        self.read = []

    @property
    def num_batches(self):
        return len(self.x) // 10

    def __getitem__(self, index):
        self.read.append(index)
        rows = slice(10 * index, 10 * index + 10)
        return self.x[rows], self.y[rows]


def test_some_rows_of_an_iterable_are_the_first():
    batches = Batches(np.arange(100), np.arange(100))
    taken = some_rows(batches, 25)
    assert batches.read == [0, 1, 2]
    np.testing.assert_array_equal(
        np.concatenate([x for x, _ in taken]), np.arange(30)
    )


def test_a_linear_model_reads_all_batches_to_the_answer_of_the_arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype("float32")
    y = (x[:, :1] + 2.0).astype("float32")

    def linear():
        model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    batches = Batches(x, y)
    found = strength_max(linear(), batches)
    assert set(batches.read) == set(range(6))
    assert found == pytest.approx(strength_max(linear(), (x, y)), rel=1e-5)
