"""Schedules of a strength: what Keras's own schedules lack.

A schedule maps the optimizer's iteration to a value. Every
`keras.optimizers.schedules.LearningRateSchedule` is one; these add ramps, a
delayed start, a join and a cycle.
"""

from kreg.schedules._combinators import Cycle, Delay, Join
from kreg.schedules._ramps import CosineRamp, GeometricRamp, LinearRamp

__all__ = [
    "CosineRamp",
    "Cycle",
    "Delay",
    "GeometricRamp",
    "Join",
    "LinearRamp",
]
