"""Penalties: `keras.regularizers.Regularizer` objects with a strength."""

from kreg.regularizers._group_lasso import GroupLasso
from kreg.regularizers._l1 import L1
from kreg.regularizers._l1l2 import L1L2
from kreg.regularizers._l2 import L2
from kreg.regularizers._mcp import MCP
from kreg.regularizers._penalty import Penalty
from kreg.regularizers._sparse_group_lasso import SparseGroupLasso

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "GroupLasso",
    "Penalty",
    "SparseGroupLasso",
]
