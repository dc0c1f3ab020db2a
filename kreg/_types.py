"""`Tensor`: the type of a tensor on whichever backend Keras runs."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor, array or variable of whichever backend Keras runs on."""
