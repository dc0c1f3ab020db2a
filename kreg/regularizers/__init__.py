"""Penalties: `keras.regularizers.Regularizer` objects with a strength."""

from kreg.regularizers._concave import MCP
from kreg.regularizers._group import GroupLasso, SparseGroupLasso
from kreg.regularizers._l1_l2 import L1, L1L2, L2
from kreg.regularizers.penalty import Penalty

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "GroupLasso",
    "Penalty",
    "SparseGroupLasso",
]
