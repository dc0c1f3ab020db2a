"""Proximal steps against a brute-force minimum of their own objective."""

import keras
import numpy as np
import pytest
from instances import PENALTIES, expected_penalty
from keras import ops

GRID = np.linspace(-4, 4, 80001)
POINTS = [-3.0, -0.2, -0.05, 0.0, 0.01, 0.3, 2.5]
STEPS = [0.0, 0.1, 1.0, 30.0]


def step_of(penalty, w, effective_step):
    w = ops.convert_to_tensor(np.asarray(w, "float32"))
    return ops.convert_to_numpy(penalty.proximal_step(w, effective_step))


@pytest.fixture(params=PENALTIES, name="penalty")
def _penalty(request):
    return PENALTIES[request.param]()


def objective(penalty, grid, w, t):
    """Of one number; the penalties here are sums over entries."""
    base = expected_penalty(penalty, [1.0])
    slope = expected_penalty(penalty, [1e-6]) / 1e-6  # of the L1 part
    return (
        slope * np.abs(grid)
        + (base - slope) * grid**2
        + (grid - w) ** 2 / (2 * t)
    )


@pytest.mark.parametrize("t", STEPS[1:])
@pytest.mark.parametrize("w", POINTS)
def test_is_the_minimum(penalty, w, t):
    best = GRID[np.argmin(objective(penalty, GRID, w, t))]
    (stepped,) = step_of(penalty, [w], t)
    assert stepped == pytest.approx(best, abs=2e-4)


def test_step_of_zero_changes_nothing(penalty):
    w = np.array(POINTS, "float32")
    np.testing.assert_array_equal(step_of(penalty, w, 0.0), w)


@pytest.mark.parametrize("t", STEPS)
def test_zeros_are_positive(penalty, t):
    w = np.array([0.0, 1e-9, -1e-9, 0.01, -0.01], "float32")
    stepped = step_of(penalty, w, t)
    assert not np.signbit(stepped[stepped == 0.0]).any()


@pytest.mark.parametrize("t", STEPS)
def test_is_symmetric(penalty, t):
    w = np.array(POINTS, "float32")
    np.testing.assert_array_equal(
        step_of(penalty, -w, t), -step_of(penalty, w, t)
    )


@pytest.mark.parametrize("t", STEPS)
def test_array_of_steps_agrees_with_a_scalar(penalty, t):
    w = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    steps = ops.full((4, 3), t)
    np.testing.assert_allclose(
        step_of(penalty, w, steps), step_of(penalty, w, t), rtol=1e-6
    )


def test_each_entry_has_its_own_step(penalty):
    w = np.array([0.5, 0.5, -2.0], "float32")
    steps = np.array([0.0, 1.0, 10.0], "float32")
    together = step_of(penalty, w, ops.convert_to_tensor(steps))
    alone = [step_of(penalty, [w[i]], float(steps[i]))[0] for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_slope_is_the_rate_of_change(penalty):
    w, small = np.array([0.5, -2.0]), 1e-6
    single = ops.convert_to_tensor(w.astype("float32"))
    slope = penalty.slope(single, penalty.strengths())
    rates = [
        expected_penalty(penalty, [x + small]) - expected_penalty(penalty, [x])
        for x in w
    ]
    slope = np.broadcast_to(ops.convert_to_numpy(slope), w.shape)
    np.testing.assert_allclose(slope, np.abs(rates) / small, rtol=1e-4)


def test_dtype_is_kept(penalty):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless told so at start")
    w = ops.convert_to_tensor(np.ones(3))
    stepped = penalty.proximal_step(
        w, 0.1, dict.fromkeys(penalty.functions, 0.1)
    )
    assert keras.backend.standardize_dtype(stepped.dtype) == "float64"
