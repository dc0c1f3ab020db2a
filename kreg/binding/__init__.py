"""Binding: penalties that follow the clock of the model they belong to."""

from kreg.binding.binding import Binding, BoundPenalty
from kreg.binding.bound_models import at_step, bind, is_bound, unbind

__all__ = [
    "Binding",
    "BoundPenalty",
    "at_step",
    "bind",
    "is_bound",
    "unbind",
]
