"""Samples are legal inputs of the model."""

import keras
import numpy as np
import pytest
from keras import layers

from kreg.surgery.sample import checked_sample, examples, random_sample


def embedding(dtype):
    x = keras.Input((50,), dtype=dtype)
    small, large = layers.Embedding(3, 2), layers.Embedding(9, 2)
    return keras.Model(x, layers.Add()([small(x), large(x)]))


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_words_are_those_that_every_embedding_knows(dtype):
    sample = random_sample(embedding(dtype), 4)
    assert sample.dtype == dtype
    assert sorted(set(sample.ravel().tolist())) == [0, 1, 2]


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"]
)
def test_sample_has_the_type_and_shape_of_the_input(dtype):
    x = keras.Input((None, 3), dtype=dtype, name="x")
    model = keras.Model(x, layers.Flatten(dtype=dtype)(x[:, :1]))
    sample = random_sample(model, 2)
    assert sample.shape == (2, 32, 3)
    assert sample.dtype.name == dtype


def test_sample_has_the_structure_of_the_inputs():
    first, second = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    y = layers.Concatenate()([first, second])
    model = keras.Model({"b": second, "a": first}, y)
    sample = random_sample(model, 2)
    assert {name: a.shape for name, a in sample.items()} == {
        "a": (2, 2),
        "b": (2, 3),
    }


def test_checked_sample_takes_the_type_of_the_input():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    sample = checked_sample(model, np.arange(4).reshape(2, 2))
    assert sample.dtype == "float32"
    np.testing.assert_array_equal(sample, [[0, 1], [2, 3]])


def test_sample_is_repeated_up_to_the_batch():
    found = examples({"x": np.array([[1], [2], [3]])}, 5)
    np.testing.assert_array_equal(found["x"].ravel(), [1, 2, 3, 1, 2])


def test_strings_are_asked_for():
    x = keras.Input((1,), dtype="string")
    model = keras.Model(x, layers.Identity()(x))
    with pytest.raises(ValueError, match="takes strings"):
        random_sample(model, 2)
