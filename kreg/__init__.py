"""kreg: regularization in Keras that does what the textbook says."""

from kreg import (
    binding,
    callbacks,
    optimizers,
    regularizers,
    schedules,
    statistics,
    surgery,
)
from kreg.binding import bind
from kreg.callbacks import RegularizationMonitor, TargetSparsity
from kreg.optimizers import ProximalOptimizer
from kreg.regularizers import (
    L1,
    L1L2,
    L2,
    MCP,
    GroupLasso,
    SparseGroupLasso,
)
from kreg.statistics import check, penalties, summary
from kreg.surgery import freeze_support, unfreeze_support

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "GroupLasso",
    "ProximalOptimizer",
    "RegularizationMonitor",
    "SparseGroupLasso",
    "TargetSparsity",
    "bind",
    "binding",
    "callbacks",
    "check",
    "freeze_support",
    "optimizers",
    "penalties",
    "regularizers",
    "schedules",
    "statistics",
    "summary",
    "surgery",
    "unfreeze_support",
]
__version__ = "0.1.0"
