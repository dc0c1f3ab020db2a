"""Proximal steps at their edges; `battery.py` checks every penalty's."""

import numpy as np
import pytest
from instances import INSTANCES
from regularizers.battery import step_of

import kreg
from kreg.regularizers import Penalty

RNG = np.random.default_rng(0)


def of_single_entries(penalty):
    return isinstance(penalty, Penalty) and penalty.grouping((4, 4)) is None


@pytest.mark.parametrize(
    "name",
    [name for name, make in INSTANCES.items() if of_single_entries(make())],
)
def test_each_entry_has_its_own_step(name):
    penalty = INSTANCES[name]()
    w = np.array([0.5, 0.5, -2.0, 0.1], "float32")
    steps = np.array([0.0, 1.0, 10.0, 0.1], "float32")
    alone = [step_of(penalty, w, float(steps[i]))[i] for i in range(len(steps))]
    np.testing.assert_allclose(step_of(penalty, w, steps), alone, rtol=1e-6)


def test_group_is_zero_exactly_where_the_pull_is_too_weak():
    """The condition is `norm(w / t) <= strength * sqrt(size)`."""
    t = 10 ** RNG.uniform(-2, 2, size=(64, 1))
    pull = RNG.normal(size=(64, 1))
    edge = np.linalg.norm(pull) / np.sqrt(64)
    for strength, zero in ((edge * 1.0001, True), (edge * 0.999, False)):
        penalty = kreg.GroupLasso(strength, groups=(0,))
        stepped = step_of(penalty, t * pull, t)
        assert (not stepped.any()) == zero


def test_many_groups_under_steps_over_four_decades():
    """2,000 groups of 64 satisfy the optimality condition, in float32."""
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


def test_scad_in_its_three_zones():
    """Small weights shrink as under L1, larger ones less, large ones never."""
    stepped = step_of(kreg.SCAD(0.1, a=3.0), [0.05, 0.15, 0.25, 0.35], 1.0)
    np.testing.assert_allclose(stepped, [0.0, 0.05, 0.2, 0.35], atol=1e-7)


def test_scad_under_long_steps_jumps():
    """It jumps at the cut from the soft threshold, or from zero, to w."""
    penalty = kreg.SCAD(0.1, a=3.0)
    soft = step_of(penalty, [0.34, 0.36], 3.0)
    np.testing.assert_allclose(soft, [0.04, 0.36], rtol=1e-6)
    hard = step_of(penalty, [0.59, 0.61], 9.0)
    np.testing.assert_allclose(hard, [0.0, 0.61], rtol=1e-6)


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (kreg.MCP(0.1, gamma=3.3), 3.3),
        (kreg.SCAD(0.1, a=3.7), 2.7),
        (kreg.MCP(0.1, gamma=3.0, factors=[0.5, 2.0]), 1.5),
        (kreg.MCP(0.1, gamma=3.0, factors=[0.0]), np.inf),
        (kreg.GroupLasso(0.1), np.inf),
    ],
    ids=repr,
)
def test_longest_step(penalty, expected):
    assert penalty.longest_step == pytest.approx(expected, rel=1e-12)
