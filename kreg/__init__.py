"""kreg: regularization in Keras that does what the textbook says."""

from kreg import (
    _quiet_start,  # noqa: F401 (before Keras)
    binding,
    callbacks,
    deployment,
    optimizers,
    regularizers,
    schedules,
    selection,
    statistics,
    surgery,
)
from kreg.binding import bind
from kreg.callbacks import RegularizationMonitor, TargetSparsity
from kreg.deployment import export
from kreg.optimizers import ProximalOptimizer
from kreg.regularizers import (
    L1,
    L1L2,
    L2,
    MCP,
    SCAD,
    GroupLasso,
    Scheduled,
    SparseGroupLasso,
)
from kreg.selection import compare, path, strength_max
from kreg.statistics import check, penalties, summary
from kreg.surgery import (
    attach,
    compact,
    freeze_support,
    strip,
    unfreeze_support,
)

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "SCAD",
    "GroupLasso",
    "ProximalOptimizer",
    "RegularizationMonitor",
    "Scheduled",
    "SparseGroupLasso",
    "TargetSparsity",
    "attach",
    "bind",
    "binding",
    "callbacks",
    "check",
    "compact",
    "compare",
    "deployment",
    "export",
    "freeze_support",
    "optimizers",
    "path",
    "penalties",
    "regularizers",
    "schedules",
    "selection",
    "statistics",
    "strength_max",
    "strip",
    "summary",
    "surgery",
    "unfreeze_support",
]
__version__ = "0.1.0"
