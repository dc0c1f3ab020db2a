"""Schedules of a strength: what Keras's own schedules lack.

A schedule maps the optimizer's iteration to a value. Every
`keras.optimizers.schedules.LearningRateSchedule` is one; these add ramps, a
delayed start, a join and a cycle.
"""

from kreg.schedules._cosine_ramp import CosineRamp
from kreg.schedules._cycle import Cycle
from kreg.schedules._delay import Delay
from kreg.schedules._geometric_ramp import GeometricRamp
from kreg.schedules._join import Join
from kreg.schedules._linear_ramp import LinearRamp

__all__ = [
    "CosineRamp",
    "Cycle",
    "Delay",
    "GeometricRamp",
    "Join",
    "LinearRamp",
]
