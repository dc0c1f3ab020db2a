"""Penalties and their gradients against NumPy and Keras."""

import keras
import numpy as np
import pytest
from instances import PENALTIES, expected_penalty
from keras import ops

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


def number(x):
    return float(ops.convert_to_numpy(x))


def weights(shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def gradient(function, w):
    """The gradient of `function` at the array `w`, on any backend."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.constant(w)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy()
    if backend == "torch":
        import torch

        x = torch.tensor(w, requires_grad=True)
        function(x).backward()
        return x.grad.numpy()
    import jax

    return np.asarray(jax.grad(function)(w))


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


@pytest.mark.parametrize("name", PENALTIES)
def test_value_in_float64(name):
    penalty = PENALTIES[name]()
    w = weights((7, 5), "float64")
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless told so at start")
    with kreg.binding.at_step(2):
        value = penalty(w)
    assert keras.backend.standardize_dtype(value.dtype) == "float64"
    # Schedules are single precision where floatx is.
    rtol = 1e-6 if penalty.is_scheduled else 1e-12
    np.testing.assert_allclose(
        number(value), expected_penalty(penalty, w, step=2), rtol=rtol
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["L1", "L2", "L1L2"])
def test_half_precision_weights_are_summed_in_single(name, dtype):
    penalty = PENALTIES[name]()
    w = ops.cast(ops.full((1000, 100), 2.0), dtype)  # sum of squares: 4e5
    value = penalty(w)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(
        number(value), expected_penalty(penalty, np.full((1000, 100), 2.0))
    )


def test_integers_are_numbers_too():
    assert number(kreg.L2(0.5)(np.array([1, -2]))) == 2.5


@pytest.mark.parametrize("name", PENALTIES)
def test_variable_equals_its_value(name):
    penalty = PENALTIES[name]()
    w = weights((7, 5))
    with kreg.binding.at_step(2):
        assert number(penalty(keras.Variable(w))) == number(penalty(w))


@pytest.mark.parametrize("step", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("name", PENALTIES)
def test_value_at_a_step(name, step):
    penalty = PENALTIES[name]()
    w = weights((7, 5))
    with kreg.binding.at_step(step):
        value = number(penalty(w))
    np.testing.assert_allclose(
        value, expected_penalty(penalty, w, step), rtol=1e-6
    )


@pytest.mark.parametrize("name", PENALTIES)
def test_zero_in_zero_out_with_a_finite_gradient(name):
    penalty = PENALTIES[name]()
    w = np.zeros((3, 2), "float32")
    with kreg.binding.at_step(1):
        assert number(penalty(w)) == 0.0
        np.testing.assert_array_equal(gradient(penalty, w), w)


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", PENALTIES)
def test_compiled_equals_eager(name, jit_compile):
    import tensorflow as tf

    penalty = PENALTIES[name]()
    w = weights((7, 5))
    with kreg.binding.at_step(2):
        eager = number(penalty(w))
        compiled = tf.function(penalty, jit_compile=jit_compile)
        np.testing.assert_allclose(number(compiled(w)), eager, rtol=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_nan_in_a_weight_shows(name):
    w = np.array([1.0, np.nan], "float32")
    with kreg.binding.at_step(1):
        assert np.isnan(number(PENALTIES[name]()(w)))


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


@pytest.mark.parametrize("name", PENALTIES)
def test_strengths_are_base_times_multiplier(name):
    penalty = PENALTIES[name]()
    penalty.multiplier = 3.0
    for strength_name, strength in penalty.strengths(step=2).items():
        base = getattr(penalty, strength_name)
        if not isinstance(base, float):
            base = number(base(2))
        assert number(strength) == pytest.approx(3.0 * base)
