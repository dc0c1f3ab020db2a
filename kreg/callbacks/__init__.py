"""Callbacks that steer strengths during `fit`."""

from kreg.callbacks._strength_scheduler import StrengthScheduler

__all__ = ["StrengthScheduler"]
