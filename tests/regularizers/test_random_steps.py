"""Random proximal steps meet their optimality condition, checked in float64.

A result u is the proximal step of w if 0 is a subgradient, at u, of
`penalty(u) + sum((u - w) ** 2 / (2 * t))`. A penalty that is not convex must
also have no lower objective at another point where 0 is a subgradient.
"""

import contextlib
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

import kreg

BACKEND = keras.backend.backend()
DTYPES = ("float32", "float64")
SHAPES = ((1, 1), (6, 1), (4, 3), (2, 6))
TOLERANCE = {"float32": 1e-6, "float64": 2e-15}
"""The largest relative residual, less than ten units in the last place."""
TINY = {name: float(np.finfo(name).tiny) for name in DTYPES}
"""A smaller result may be rounded to zero."""


@contextlib.contextmanager
def double_precision():
    """Let JAX compute in float64, which it does only where it is told to."""
    if BACKEND != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def magnitude(rng, decades=6):
    return 10.0 ** rng.uniform(-decades, decades)


def strength(rng, reach):
    """A strength: 0, huge, about what zeroes half the weight, or any."""
    choice = rng.integers(10)
    if choice < 2:
        return 0.0
    if choice == 2:
        return 1e30
    if choice < 8:
        return float(reach * 10.0 ** rng.uniform(-1.5, 1.0))
    return float(magnitude(rng))


def random_factors(rng, shape):
    kind = rng.integers(4)
    if kind < 2:
        return None
    if kind == 2:
        return magnitude(rng, 1)
    factors = 10.0 ** rng.uniform(-3, 1, size=shape)
    return np.where(rng.random(shape) < 0.2, 0.0, factors)


def random_step(rng, shape):
    step = magnitude(rng)
    kind = rng.integers(3)
    if kind == 0:
        return step
    steps = step * 10.0 ** rng.uniform(-2 * kind, 2 * kind, size=shape)
    return np.where(rng.random(shape) < 0.05, 0.0, np.clip(steps, 1e-6, 1e6))


class Separable:
    """The conditions of a penalty that is a sum over entries.

    Args:
        make: function of a random generator, of the strength that about half
            the entries can withstand, and of factors, that returns a penalty.
        pull: function of `(u, s, penalty)`: the derivative at u > 0.
        value: function of the same: the penalty of an entry of size u.
        points: function of `(w, t, s, penalty)`: candidates for a minimum at
            w > 0 besides 0 and w; empty for a convex penalty.
    """

    def __init__(self, make, pull, value=None, points=None):
        self.make, self.pull = make, pull
        self.value, self.points = value, points

    def penalty(self, rng, w, t):
        reach = np.median(np.abs(w)) / max(np.median(t), 1e-6)
        return self.make(rng, reach, random_factors(rng, w.shape))

    def residual(self, penalty, w, t, u):
        s = {n: float(v) for n, v in penalty.strengths().items()}
        factors = 1.0 if penalty.factors is None else penalty.factors
        t = t * np.asarray(factors, "float64") + np.zeros_like(w)
        w, u = np.abs(w), u * np.sign(w)
        assert (u >= 0).all()
        scale = np.maximum(w, t * self.pull(0.0 * w, s, penalty))
        at_zero = np.maximum(w - t * self.pull(0.0 * w, s, penalty), 0)
        elsewhere = np.abs(u - w + t * self.pull(u, s, penalty))
        rounded = TINY[penalty.tested_dtype] * (1 + 2 * t * s.get("l2", 0.0))
        at_zero, elsewhere = (
            np.maximum(r - rounded, 0) for r in (at_zero, elsewhere)
        )
        relative = np.where(u == 0, at_zero, elsewhere) / np.where(
            scale > 0, scale, 1
        )
        return relative, self.excess(penalty, s, w, t, u)

    def excess(self, penalty, s, w, t, u):
        """By how much, relative to `w ** 2`, another point is better."""
        if self.points is None:
            return np.zeros_like(w)

        def objective(u):
            return t * self.value(u, s, penalty) + (u - w) ** 2 / 2

        best = np.min(
            [
                objective(point)
                for point in (0 * w, w, *self.points(w, t, s, penalty))
            ],
            axis=0,
        )
        return (objective(u) - best) / np.where(w > 0, w, 1) ** 2


def mcp_value(u, s, p):
    lam = s["strength"]
    return np.where(
        u <= p.gamma * lam,
        lam * u - u**2 / (2 * p.gamma),
        p.gamma * lam**2 / 2,
    )


def mcp_points(w, t, s, p):
    soft = np.maximum(w - t * s["strength"], 0)
    with np.errstate(all="ignore"):
        firm = np.clip(soft / (1 - t / p.gamma), 0, p.gamma * s["strength"])
    return [np.nan_to_num(firm)]


def scad_value(u, s, p):
    lam, a = s["strength"], p.a
    return np.where(
        u <= lam,
        lam * u,
        np.where(
            u <= a * lam,
            lam * u - (u - lam) ** 2 / (2 * (a - 1)),
            (a + 1) * lam**2 / 2,
        ),
    )


def scad_points(w, t, s, p):
    lam, a = s["strength"], p.a
    soft = np.clip(w - t * lam, 0, lam)
    with np.errstate(all="ignore"):
        firm = ((a - 1) * w - t * a * lam) / (a - 1 - t)
    return [soft, np.clip(np.nan_to_num(firm), lam, a * lam)]


class Grouped:
    """The conditions of a penalty on groups; `make` as in `Separable`."""

    def __init__(self, make):
        self.make = make

    def penalty(self, rng, w, t):
        groups = [(0,), (1,), (0, 1), ()][rng.integers(4)]
        reach = np.median(np.abs(w)) / max(np.median(t), 1e-6)
        return self.make(rng, reach, groups)

    def residual(self, penalty, w, t, u):
        s = {n: float(v) for n, v in penalty.strengths().items()}
        t = t + np.zeros_like(w)
        size = np.prod([w.shape[axis] for axis in penalty.groups])
        group = s.get("group", s.get("strength")) * np.sqrt(size)
        l1 = s.get("l1", 0.0)
        axes = penalty.groups

        def norms(x):
            # Scaled, because the squares of tiny numbers are zero.
            largest = np.max(np.abs(x), axis=axes, keepdims=True, initial=0)
            if not axes:
                return np.abs(x)
            largest = np.where(largest > 0, largest, 1)
            squares = np.sum((x / largest) ** 2, axis=axes, keepdims=True)
            return largest * np.sqrt(squares)

        soft = np.sign(w) * np.maximum(np.abs(w) - t * l1, 0)
        # Where the soft threshold is at its edge, so is rounding.
        rounding = np.finfo(penalty.tested_dtype).eps * np.maximum(
            np.abs(w), t * l1
        )
        pull = norms(np.where(t > 0, soft / np.where(t > 0, t, 1), 0))
        held = np.where(t > 0, 0, np.abs(soft)).max(
            axis=axes, keepdims=True, initial=0
        )
        blur = norms(np.where(t > 0, rounding / np.where(t > 0, t, 1), 0))
        too_much = np.maximum(pull - group - 4 * blur, 0) / np.maximum(
            np.maximum(pull, group), 1e-300
        )
        at_zero = np.where(held > 0, 1.0, too_much) + 0 * w
        norm = norms(u)
        pulled = t * group / np.where(norm > 0, norm, 1)
        inner = np.abs(u - soft + pulled * u)
        inner -= TINY[penalty.tested_dtype] * (1 + pulled)
        scale = np.maximum(np.abs(w), t * l1)
        elsewhere = np.maximum(inner, 0) / np.where(scale > 0, scale, 1)
        return np.where(norm > 0, elsewhere, at_zero), 0 * w


KINDS = {
    "L1": Separable(
        lambda rng, reach, f: kreg.L1(strength(rng, reach), factors=f),
        lambda u, s, p: s["l1"] + 0 * u,
    ),
    "L2": Separable(
        lambda rng, reach, f: kreg.L2(strength(rng, reach), factors=f),
        lambda u, s, p: 2 * s["l2"] * u,
    ),
    "L1L2": Separable(
        lambda rng, reach, f: kreg.L1L2(
            strength(rng, reach), strength(rng, reach), factors=f
        ),
        lambda u, s, p: s["l1"] + 2 * s["l2"] * u,
    ),
    "MCP": Separable(
        lambda rng, reach, f: kreg.MCP(
            strength(rng, reach), float(10 ** rng.uniform(-3, 3)), factors=f
        ),
        lambda u, s, p: np.maximum(s["strength"] - u / p.gamma, 0),
        mcp_value,
        mcp_points,
    ),
    "SCAD": Separable(
        lambda rng, reach, f: kreg.SCAD(
            strength(rng, reach), 2 + float(10 ** rng.uniform(-2, 3)), factors=f
        ),
        lambda u, s, p: np.where(
            u <= s["strength"],
            s["strength"],
            np.maximum(p.a * s["strength"] - u, 0) / (p.a - 1),
        ),
        scad_value,
        scad_points,
    ),
    "GroupLasso": Grouped(
        lambda rng, reach, groups: kreg.GroupLasso(
            strength(rng, reach), groups=groups
        )
    ),
    "SparseGroupLasso": Grouped(
        lambda rng, reach, groups: kreg.SparseGroupLasso(
            strength(rng, reach), strength(rng, reach), groups=groups
        )
    ),
}


def worst_residual(name, dtype, number, seed=0):
    """The largest relative residual of some random steps."""
    kind, worst = KINDS[name], (0.0, None)
    rng = np.random.default_rng([seed, *name.encode(), *dtype.encode()])
    for _ in range(number):
        shape = SHAPES[rng.integers(len(SHAPES))]
        w = (magnitude(rng) * rng.normal(size=shape)).astype(dtype)
        w[rng.random(shape) < 0.1] = 0.0
        step = random_step(rng, shape)
        scalar = np.isscalar(step)
        t = np.asarray(step, dtype)
        penalty = kind.penalty(rng, w, t)
        penalty.tested_dtype = dtype
        given = float(step) if scalar else ops.convert_to_tensor(t, dtype)
        u = penalty.proximal_step(
            ops.convert_to_tensor(w, dtype), given, penalty.strengths()
        )
        assert keras.backend.standardize_dtype(u.dtype) == dtype
        u = ops.convert_to_numpy(u)
        assert np.isfinite(u).all()
        assert not np.signbit(u[u == 0]).any()
        wide = partial(np.asarray, dtype="float64")
        residual, excess = kind.residual(
            penalty, wide(w), step if scalar else wide(t), wide(u)
        )
        here = max(float(residual.max()), float(excess.max()))
        if not here <= worst[0]:
            worst = here, (penalty, w, t, u)
    return worst


def assert_optimal(name, dtype, number):
    with double_precision():
        worst, case = worst_residual(name, dtype, number)
    assert worst < TOLERANCE[dtype], case


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINDS)
def test_some_random_steps(name, dtype):
    assert_optimal(name, dtype, 20)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINDS)
def test_random_steps(name, dtype):
    """8,400 steps in all."""
    assert_optimal(name, dtype, 600)
