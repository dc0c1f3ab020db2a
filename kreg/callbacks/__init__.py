"""Callbacks that steer strengths or log regularization during `fit`."""

from kreg.callbacks._regularization_monitor import RegularizationMonitor
from kreg.callbacks._strength_scheduler import StrengthScheduler
from kreg.callbacks._target_sparsity import TargetSparsity

__all__ = ["RegularizationMonitor", "StrengthScheduler", "TargetSparsity"]
