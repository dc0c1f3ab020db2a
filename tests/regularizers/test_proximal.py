"""Proximal steps against a brute-force minimum of their own objective."""

import keras
import numpy as np
import pytest
from instances import PENALTIES, expected_penalty
from keras import ops

import kreg

GRID = np.linspace(-4, 4, 801)
POINTS = [-3.0, -0.2, -0.05, 0.0, 0.01, 0.3, 2.5]
STEPS = [0.0, 0.1, 1.0, 30.0]
RNG = np.random.default_rng(0)


def strengths_of(penalty):
    return {
        name: float(ops.convert_to_numpy(strength))
        for name, strength in penalty.strengths().items()
    }


def step_of(penalty, w, effective_step, dtype="float32"):
    w = ops.convert_to_tensor(np.asarray(w, dtype))
    if not np.isscalar(effective_step):
        effective_step = ops.convert_to_tensor(effective_step, dtype)
    stepped = penalty.proximal_step(w, effective_step, strengths_of(penalty))
    return ops.convert_to_numpy(stepped)


@pytest.fixture(params=PENALTIES, name="penalty")
def _penalty(request):
    return PENALTIES[request.param]()


def objective(penalty, u, w, t):
    return expected_penalty(penalty, u) + np.sum((u - w) ** 2 / (2 * t))


@pytest.mark.parametrize("t", STEPS[1:])
@pytest.mark.parametrize("w", POINTS)
def test_is_the_minimum_for_one_entry(penalty, w, t):
    values = [objective(penalty, np.array([u]), w, t) for u in GRID]
    (stepped,) = step_of(penalty, [w], t)
    reached = objective(penalty, np.array([stepped], "float64"), w, t)
    assert reached <= min(values) + 1e-6


def candidates(stepped, w):
    """Points near and far that might be better."""
    yield np.zeros_like(w)
    yield w
    for k in range(w.shape[1]):  # each group gone, or as it was
        for other in (np.zeros_like(w), w):
            point = stepped.copy()
            point[:, k] = other[:, k]
            yield point
    for scale in np.geomspace(1e-6, 3, 14):
        for _ in range(5):
            yield stepped + scale * RNG.normal(size=w.shape)
            yield stepped * (1 + scale * RNG.normal(size=w.shape))


@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("scale", [0.02, 0.3, 3.0])
def test_is_the_minimum_for_a_matrix(penalty, scale, spread):
    """With a step for each entry, spread over up to four decades."""
    w = scale * RNG.normal(size=(5, 4))
    t = np.full(w.shape, 0.4)
    if spread:
        t = 10 ** RNG.uniform(-spread / 2, spread / 2, size=w.shape)
    dtype = "float32" if keras.backend.backend() == "jax" else "float64"
    stepped = step_of(penalty, w, t, dtype).astype("float64")
    reached = objective(penalty, stepped, w, t)
    slack = 1e-6 * abs(reached)
    for point in candidates(stepped, w):
        assert reached <= objective(penalty, point, w, t) + slack


def test_step_of_zero_changes_nothing(penalty):
    w = np.array(POINTS, "float32")
    np.testing.assert_allclose(step_of(penalty, w, 0.0), w, rtol=1e-6)
    array = step_of(penalty, w, np.zeros(len(w)))
    np.testing.assert_allclose(array, w, rtol=1e-6)


@pytest.mark.parametrize("t", STEPS)
def test_zeros_are_positive(penalty, t):
    w = np.array([0.0, 1e-9, -1e-9, 0.01, -0.01], "float32")
    for steps in (t, np.full(5, t)):
        stepped = step_of(penalty, w, steps)
        assert not np.signbit(stepped[stepped == 0.0]).any()


@pytest.mark.parametrize("t", STEPS)
def test_zero_stays_zero(penalty, t):
    for steps in (t, np.full((3, 2), t)):
        assert not step_of(penalty, np.zeros((3, 2)), steps).any()


@pytest.mark.parametrize("t", STEPS)
def test_is_symmetric(penalty, t):
    w = np.array(POINTS, "float32")
    np.testing.assert_array_equal(
        step_of(penalty, -w, t), -step_of(penalty, w, t)
    )


@pytest.mark.parametrize("t", STEPS)
def test_array_of_steps_agrees_with_a_scalar(penalty, t):
    w = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(
        step_of(penalty, w, np.full((4, 3), t)),
        step_of(penalty, w, t),
        rtol=2e-5,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    "name", [n for n in PENALTIES if "Group" not in n], ids=str
)
def test_each_entry_has_its_own_step(name):
    penalty = PENALTIES[name]()
    w = np.array([0.5, 0.5, -2.0], "float32")
    steps = np.array([0.0, 1.0, 10.0], "float32")
    alone = [step_of(penalty, [w[i]], float(steps[i]))[0] for i in range(3)]
    np.testing.assert_allclose(step_of(penalty, w, steps), alone, rtol=1e-6)


def gradient(function, w):
    """Of the sum of what `function` returns."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.constant(w)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(function(x))
        return tape.gradient(y, x).numpy()
    if backend == "torch":
        import torch

        x = torch.tensor(w, requires_grad=True)
        function(x).sum().backward()
        return x.grad.numpy()
    import jax

    return np.asarray(jax.grad(lambda x: function(x).sum())(w))


@pytest.mark.parametrize("t", [0.1, 1.0])
def test_gradient_is_finite(penalty, t):
    """At zero too, for those who differentiate through a proximal step."""
    w = np.array([[0.0, 0.5], [0.0, -2.0]], "float32")
    strengths = strengths_of(penalty)
    for steps in (t, ops.full((2, 2), t)):
        slopes = gradient(
            lambda x, steps=steps: penalty.proximal_step(x, steps, strengths),
            w,
        )
        assert np.isfinite(slopes).all()


def test_dtype_is_kept(penalty):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless told so at start")
    stepped = step_of(penalty, np.ones(3), 0.1, "float64")
    assert stepped.dtype == "float64"


def test_group_is_zero_exactly_where_the_pull_is_too_weak():
    """`norm(w / t) <= strength * sqrt(size)`, here at its edge."""
    t = 10 ** RNG.uniform(-2, 2, size=(64, 1))
    pull = RNG.normal(size=(64, 1))
    edge = np.linalg.norm(pull) / np.sqrt(64)
    for strength, zero in ((edge * 1.0001, True), (edge * 0.999, False)):
        penalty = kreg.GroupLasso(strength, groups=(0,))
        stepped = step_of(penalty, t * pull, t)
        assert (not stepped.any()) == zero


def test_many_groups_under_steps_over_four_decades():
    """The optimality condition of 2,000 groups of 64, in single precision."""
    t = 10 ** RNG.uniform(-2, 2, size=(64, 2000))
    w = t * RNG.normal(size=t.shape)
    strength = 0.5
    u = step_of(kreg.GroupLasso(strength, groups=(0,)), w, t).astype("float64")
    norms = np.linalg.norm(u, axis=0)
    assert (norms > 0).all()
    residual = strength * np.sqrt(64) * u / norms + (u - w) / t
    pull = np.linalg.norm(w / t, axis=0)
    assert (np.linalg.norm(residual, axis=0) / pull).max() < 3e-5


def test_factors_scale_the_step_of_each_entry():
    factors = [0.0, 1.0, 2.0]
    stepped = step_of(kreg.L1(0.1, factors=factors), [1.0, 1.0, -1.0], 2.0)
    np.testing.assert_allclose(stepped, [1.0, 0.8, -0.6], rtol=1e-6)


def test_mcp_between_threshold_and_hard_threshold():
    """`t < gamma` leaves large weights alone; `t >= gamma` cuts and keeps."""
    firm = step_of(kreg.MCP(0.1, gamma=3.0), [0.1, 0.2, 0.4], 1.0)
    np.testing.assert_allclose(firm, [0.0, 0.15, 0.4], atol=1e-7)
    hard = step_of(kreg.MCP(0.1, gamma=3.0), [0.34, 0.36], 4.0)
    np.testing.assert_allclose(hard, [0.0, 0.36], rtol=1e-6)
