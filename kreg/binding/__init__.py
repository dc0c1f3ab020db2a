"""Binding: penalties that know the model they belong to and its clock."""

from kreg.binding.binding import Binding, BoundPenalty
from kreg.binding.bound_models import at_step, bind

__all__ = ["Binding", "BoundPenalty", "at_step", "bind"]
