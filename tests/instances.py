"""One instance of everything, for the tests that all must pass."""

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

PENALTIES = {
    "L1": lambda: kreg.L1(0.1),
    "L1_scheduled": lambda: kreg.L1(schedules.LinearRamp(0.1, 0.3, steps=4)),
    "L1_steered": lambda: kreg.L1(0.1, multiplier=0.5),
    "L2": lambda: kreg.L2(0.2),
    "L2_scheduled": lambda: kreg.L2(
        keras.optimizers.schedules.PolynomialDecay(0.1, 10, 1.0)
    ),
    "L1L2": lambda: kreg.L1L2(l1=0.1, l2=0.2),
    "L1L2_scheduled": lambda: kreg.L1L2(
        l1=schedules.GeometricRamp(0.1, 0.4, steps=3), l2=0.2
    ),
    "L1L2_factors": lambda: kreg.L1L2(0.1, 0.2, factors=[0.5]),
    "MCP": lambda: kreg.MCP(0.3, gamma=2.5),
    "MCP_scheduled": lambda: kreg.MCP(
        schedules.LinearRamp(0.1, 0.3, steps=4), factors=[1.5]
    ),
    "GroupLasso": lambda: kreg.GroupLasso(0.2, groups=(0,)),
    "GroupLasso_scheduled": lambda: kreg.GroupLasso(
        schedules.LinearRamp(0.1, 0.3, steps=4), groups=-1, multiplier=0.5
    ),
    "SparseGroupLasso": lambda: kreg.SparseGroupLasso(0.1, 0.2, groups=(0,)),
    "SparseGroupLasso_scheduled": lambda: kreg.SparseGroupLasso(
        schedules.LinearRamp(0.1, 0.3, steps=4), 0.1, groups=(0,)
    ),
}


def l1(w, s, penalty):
    return s["l1"] * np.sum(factors(penalty) * np.abs(w))


def l2(w, s, penalty):
    return s["l2"] * np.sum(factors(penalty) * w**2)


def mcp(w, s, penalty):
    strength, gamma = s["strength"], penalty.gamma
    size = np.abs(w)
    inner = strength * size - size**2 / (2 * gamma)
    outer = gamma * strength**2 / 2
    entries = np.where(size <= gamma * strength, inner, outer)
    return np.sum(factors(penalty) * entries)


def group(w, strength, penalty):
    norms = np.sqrt(np.sum(w**2, axis=penalty.groups))
    return strength * np.sqrt(w.size / norms.size) * np.sum(norms)


def factors(penalty):
    return 1.0 if penalty.factors is None else penalty.factors


# The formula of each class, once more in NumPy.
FORMULAS = {
    kreg.L1: l1,
    kreg.L2: l2,
    kreg.L1L2: lambda w, s, p: l1(w, s, p) + l2(w, s, p),
    kreg.MCP: mcp,
    kreg.GroupLasso: lambda w, s, p: group(w, s["strength"], p),
    kreg.SparseGroupLasso: lambda w, s, p: (
        s["l1"] * np.abs(w).sum() + group(w, s["group"], p)
    ),
}


def expected_penalty(penalty, w, step=0):
    """The penalty by NumPy, from the strengths that the config names."""
    strengths = {
        name: penalty.multiplier * strength_value(getattr(penalty, name), step)
        for name in penalty.strength_names()
    }
    return FORMULAS[type(penalty)](np.asarray(w, "float64"), strengths, penalty)


def strength_value(strength, step):
    if isinstance(strength, float):
        return strength
    return float(keras.ops.convert_to_numpy(strength(step)))
