"""Names of types that Keras itself leaves open."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor, array or variable of whichever backend Keras runs on."""
