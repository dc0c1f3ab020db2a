"""kreg: regularization in Keras that does what the textbook says."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kreg import (
    _quiet_start,  # noqa: F401 (before Keras)
    binding,
    callbacks,
    optimizers,
    regularizers,
    schedules,
    statistics,
)
from kreg.binding import bind
from kreg.callbacks import RegularizationMonitor, TargetSparsity
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
from kreg.statistics import check, penalties, summary

if TYPE_CHECKING:
    from kreg import deployment, selection, surgery
    from kreg.deployment import export
    from kreg.selection import compare, path, strength_max
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

# Names that no training step needs are imported on first access: importing them
# takes almost as long as importing everything else.
_FOLDERS = {
    "attach": "surgery",
    "compact": "surgery",
    "compare": "selection",
    "deployment": "deployment",
    "export": "deployment",
    "freeze_support": "surgery",
    "path": "selection",
    "selection": "selection",
    "strength_max": "selection",
    "strip": "surgery",
    "surgery": "surgery",
    "unfreeze_support": "surgery",
}


def __getattr__(name: str) -> Any:
    folder = _FOLDERS.get(name)
    if folder is None:
        raise AttributeError(f"module 'kreg' has no attribute {name!r}")
    module = import_module(f"kreg.{folder}")
    return module if name == folder else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
