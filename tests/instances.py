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
}


def expected_penalty(penalty, w, step=0):
    """The penalty by NumPy, from the strengths that the config names."""
    w = np.asarray(w, "float64")
    functions = {"l1": np.abs(w).sum(), "l2": np.square(w).sum()}
    return penalty.multiplier * sum(
        strength_value(getattr(penalty, name), step) * functions[name]
        for name in penalty.functions
    )


def strength_value(strength, step):
    if isinstance(strength, float):
        return strength
    return float(keras.ops.convert_to_numpy(strength(step)))
