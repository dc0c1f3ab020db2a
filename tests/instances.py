"""One table of everything, for the tests that all must pass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np

import kreg
from kreg import schedules

SCHEDULES = {
    "LinearRamp": lambda: schedules.LinearRamp(0.125, 0.5, steps=7),
    "LinearRamp_down": lambda: schedules.LinearRamp(0.5, 0.0, steps=7),
    "CosineRamp": lambda: schedules.CosineRamp(0.125, 0.5, steps=7),
    "GeometricRamp": lambda: schedules.GeometricRamp(0.001, 0.1, steps=7),
    "Delay": lambda: schedules.Delay(
        schedules.LinearRamp(0.0, 1.0, steps=4), steps=3, before=0.25
    ),
    "Delay_constant": lambda: schedules.Delay(0.5, steps=3),
    "Join": lambda: schedules.Join(
        [schedules.LinearRamp(0.0, 1.0, steps=4), 0.5], boundaries=[6]
    ),
    "Cycle": lambda: schedules.Cycle(
        keras.optimizers.schedules.PolynomialDecay(0.0, 4, 1.0), period=3
    ),
}


def rising():
    return schedules.LinearRamp(0.1, 0.3, steps=4)


# Formulas in NumPy, of matrices along the last two axes: `w` is the weight,
# `s` its strengths by name, and `p` the penalty, for its other arguments.


def l1(w, s, p):
    return s["l1"] * _sum(factors(p) * np.abs(w))


def l2(w, s, p):
    return s["l2"] * _sum(factors(p) * w**2)


def mcp(w, s, p):
    strength, size = s["strength"], np.abs(w)
    inner = strength * size - size**2 / (2 * p.gamma)
    outer = p.gamma * strength**2 / 2
    entries = np.where(size <= p.gamma * strength, inner, outer)
    return _sum(factors(p) * entries)


def scad(w, s, p):
    strength, a, size = s["strength"], p.a, np.abs(w)
    middle = (2 * a * strength * size - size**2 - strength**2) / (2 * (a - 1))
    outer = (a + 1) * strength**2 / 2
    entries = np.where(size <= a * strength, middle, outer)
    entries = np.where(size <= strength, strength * size, entries)
    return _sum(factors(p) * entries)


def group(w, strength, p):
    axes = tuple(axis if axis < 0 else axis - 2 for axis in p.groups)
    norms = np.sqrt(np.sum(w**2, axis=axes, keepdims=True))
    size = np.prod([w.shape[axis] for axis in axes])
    return strength * np.sqrt(size) * _sum(norms)


@keras.saving.register_keras_serializable(package="tests")
def fourth_powers(w):
    return keras.ops.sum(w**4)


def scheduled(w, s, p):
    if p.regularizer is fourth_powers:
        return s["strength"] * _sum(w**4)
    return s["strength"] * p.regularizer.l2 * _sum(w**2)


def factors(penalty):
    return 1.0 if penalty.factors is None else penalty.factors


def _sum(entries):
    return np.sum(entries, axis=(-2, -1))


@dataclass(frozen=True)
class TableRow:
    """A class of penalties: its formula, and ways to make an instance.

    Every argument differs from its default in one of them. Each fits a weight
    with four columns, and is given the class, of which there are mutations.
    `kinds` says what values an argument takes, strengths, factors and the
    multiplier apart: a kind of `tests/project/test_arguments.py`.
    """

    formula: Callable[..., Any]
    instances: dict[str, Callable[[Any], Any]]
    kinds: dict[str, str] = field(default_factory=dict)


PENALTY_TABLE = {
    kreg.L1: TableRow(
        l1,
        {
            "plain": lambda cls: cls(0.1),
            "scheduled": lambda cls: cls(rising()),
            "all": lambda cls: cls(
                0.2, factors=[0.0, 1.0, 2.0, 0.5], multiplier=0.5
            ),
        },
        {"l1": "strength?"},
    ),
    kreg.L2: TableRow(
        l2,
        {
            "plain": lambda cls: cls(0.2),
            "scheduled": lambda cls: cls(
                keras.optimizers.schedules.PolynomialDecay(0.1, 10, 1.0)
            ),
            "all": lambda cls: cls(
                0.2, factors=[0.0, 1.0, 2.0, 0.5], multiplier=0.5
            ),
        },
        {"l2": "strength?"},
    ),
    kreg.L1L2: TableRow(
        lambda w, s, p: l1(w, s, p) + l2(w, s, p),
        {
            "plain": lambda cls: cls(l1=0.1, l2=0.2),
            "scheduled": lambda cls: cls(
                l1=schedules.GeometricRamp(0.1, 0.4, steps=3), l2=0.2
            ),
            "all": lambda cls: cls(0.1, 0.2, factors=[0.5], multiplier=2.0),
        },
        {"l1": "strength?", "l2": "strength?"},
    ),
    kreg.MCP: TableRow(
        mcp,
        {
            "plain": lambda cls: cls(0.3, gamma=2.5),
            "scheduled": lambda cls: cls(rising(), 0.8),
            "all": lambda cls: cls(
                0.6, 1.5, factors=[1.5, 0.5, 1.0, 4.0], multiplier=0.5
            ),
        },
        {"gamma": "positive"},
    ),
    kreg.SCAD: TableRow(
        scad,
        {
            "plain": lambda cls: cls(0.3, a=2.5),
            "scheduled": lambda cls: cls(rising(), a=2.1),
            "all": lambda cls: cls(
                0.6, 3.0, factors=[1.5, 0.5, 1.0, 4.0], multiplier=0.5
            ),
        },
        {"a": "above two"},
    ),
    kreg.GroupLasso: TableRow(
        lambda w, s, p: group(w, s["strength"], p),
        {
            "plain": lambda cls: cls(0.2, groups=(0,)),
            "all": lambda cls: cls(rising(), groups=-1, multiplier=0.5),
        },
        {"groups": "groups"},
    ),
    kreg.SparseGroupLasso: TableRow(
        lambda w, s, p: s["l1"] * _sum(np.abs(w)) + group(w, s["group"], p),
        {
            "plain": lambda cls: cls(0.1, 0.2, groups=(0,)),
            "all": lambda cls: cls(rising(), 0.1, groups=(1,), multiplier=0.5),
        },
        {"groups": "groups"},
    ),
    kreg.Scheduled: TableRow(
        scheduled,
        {
            "plain": lambda cls: cls(keras.regularizers.L2(0.25), 0.5),
            "all": lambda cls: cls(fourth_powers, rising(), multiplier=0.5),
        },
        {"regularizer": "regularizer"},
    ),
}

INSTANCES = {
    f"{cls.__name__}-{name}": partial(make, cls)
    for cls, row in PENALTY_TABLE.items()
    for name, make in row.instances.items()
}
"""Every instance of the table: a function without arguments that makes it."""


def expected_penalty(penalty, w, step=0):
    """The penalty of `w` by its formula, or of each matrix in `w`."""
    strengths = {
        name: penalty.multiplier * strength_value(getattr(penalty, name), step)
        for name in penalty.strength_names()
    }
    formula = next(
        PENALTY_TABLE[cls].formula
        for cls in type(penalty).__mro__
        if cls in PENALTY_TABLE
    )
    return formula(np.asarray(w, "float64"), strengths, penalty)


def strength_value(strength, step):
    if isinstance(strength, float):
        return strength
    return float(keras.ops.convert_to_numpy(strength(step)))
