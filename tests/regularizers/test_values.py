"""Penalties and their gradients against NumPy and Keras."""

import keras
import numpy as np
import pytest
from keras import ops
from regularizers.battery import gradient, number, weights

import kreg

PAIRS = {
    "L1": (kreg.L1(0.3), keras.regularizers.L1(0.3)),
    "L1_default": (kreg.L1(), keras.regularizers.L1()),
    "L2": (kreg.L2(0.3), keras.regularizers.L2(0.3)),
    "L2_default": (kreg.L2(), keras.regularizers.L2()),
    "L1L2": (kreg.L1L2(0.3, 0.7), keras.regularizers.L1L2(0.3, 0.7)),
    "L1L2_default": (kreg.L1L2(), keras.regularizers.L1L2()),
    "L1L2_keywords": (kreg.L1L2(l2=0.7), keras.regularizers.L1L2(l2=0.7)),
    "None": (kreg.L1(None), keras.regularizers.L1(None)),
}
SHAPES = [(), (1,), (7, 5), (3, 3, 4, 8), (0, 4)]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_equals_keras(pair, shape):
    ours, theirs = PAIRS[pair]
    w = weights(shape)
    np.testing.assert_allclose(
        number(ours(w)), number(theirs(ops.convert_to_tensor(w))), rtol=1e-6
    )


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_gradient(l1, l2):
    w = weights((7, 5))
    w[0] = 0.0
    expected = l1 * np.sign(w) + l2 * 2 * w
    np.testing.assert_allclose(
        gradient(kreg.L1L2(l1, l2), w), expected, rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (kreg.L1(0.1), 0.1 * 2e5),
        (kreg.L2(0.2), 0.2 * 4e5),
        (kreg.L1L2(l1=0.1, l2=0.2), 0.1 * 2e5 + 0.2 * 4e5),
    ],
    ids=["L1", "L2", "L1L2"],
)
def test_half_precision_weights_are_summed_in_single(penalty, expected, dtype):
    w = ops.cast(ops.full((1000, 100), 2.0), dtype)  # sum of squares: 4e5
    value = penalty(w)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(number(value), expected)


def test_integers_are_numbers_too():
    assert number(kreg.L2(0.5)(np.array([1, -2]))) == 2.5


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, end):
        self.end = end

    def __call__(self, step):
        return ops.where(step > 0, self.end, 1.0)

    def get_config(self):
        return {"end": self.end}


def test_schedule_that_falls_below_zero_counts_as_zero():
    with kreg.binding.at_step(1):
        assert number(kreg.L1(Falling(-1.0))(np.ones(3))) == 0.0


def test_schedule_that_becomes_nan_shows():
    with kreg.binding.at_step(1):
        assert np.isnan(number(kreg.L1(Falling(float("nan")))(np.ones(3))))
