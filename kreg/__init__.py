"""kreg: regularization in Keras that does what the textbook says."""

from kreg import (
    binding,
    callbacks,
    optimizers,
    regularizers,
    schedules,
    statistics,
)
from kreg.binding import bind
from kreg.optimizers import ProximalOptimizer
from kreg.regularizers import L1, L1L2, L2
from kreg.statistics import penalties

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "ProximalOptimizer",
    "bind",
    "binding",
    "callbacks",
    "optimizers",
    "penalties",
    "regularizers",
    "schedules",
    "statistics",
]
__version__ = "0.1.0"
