"""Binding: penalties that know the model they belong to and its clock."""

from kreg.binding._bind import bind
from kreg.binding._binding import Binding
from kreg.binding._bound_penalty import BoundPenalty
from kreg.regularizers._clock import at_step

__all__ = ["Binding", "BoundPenalty", "at_step", "bind"]
