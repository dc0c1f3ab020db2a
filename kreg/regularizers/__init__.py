"""Penalties: `keras.regularizers.Regularizer` objects with a strength."""

from kreg.regularizers._concave import MCP, SCAD
from kreg.regularizers._group import GroupLasso, SparseGroupLasso
from kreg.regularizers._l1_l2 import L1, L1L2, L2
from kreg.regularizers._scheduled import Scheduled
from kreg.regularizers.penalty import Penalty

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "SCAD",
    "GroupLasso",
    "Penalty",
    "Scheduled",
    "SparseGroupLasso",
]
