"""A constraint that keeps zeros."""

from collections.abc import Callable

import keras
from keras import ops

from kreg._types import Tensor


class KeepSupport(keras.constraints.Constraint):
    """Sets to zero whatever was zero when it was made.

    Args:
        variable: the weight.
        constraint: the weight's own constraint, which goes first, or None.
    """

    def __init__(
        self,
        variable: keras.Variable,
        constraint: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.constraint = constraint
        self.support = keras.Variable(
            _support_of(variable),
            trainable=False,
            name="kreg_support",
        )

    def renew(self, variable: keras.Variable) -> None:
        """Keep the zeros that the weight has now instead."""
        self.support.assign(_support_of(variable))

    def __call__(self, w: Tensor) -> Tensor:
        if self.constraint is not None:
            w = self.constraint(w)
        return self.kept(ops.convert_to_tensor(w))

    def kept(self, x: Tensor) -> Tensor:
        """`x` with zeros outside the support."""
        return ops.where(self.support > 0, x, ops.zeros_like(x))


def _support_of(variable: keras.Variable) -> Tensor:
    return ops.cast(ops.not_equal(variable, 0), "float32")
