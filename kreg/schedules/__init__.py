"""Schedules of a strength that Keras lacks: ramps, delays, joins and cycles.

A schedule maps the optimizer's iteration to a value. Every
`keras.optimizers.schedules.LearningRateSchedule` is a schedule, too.
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
