"""Norms of weights, summed in at least single precision."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import keras
from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping


def summable(w: Tensor) -> Tensor:
    """Return `w` as a tensor whose dtype can hold a sum over its entries.

    Integers and half precision become float32, because sums of squares in
    float16 overflow at 65504. Complex numbers become their moduli, on which
    norms and penalties depend.
    """
    if not keras.backend.is_keras_tensor(w):
        w = ops.convert_to_tensor(w)
    if is_complex(w):
        w = ops.abs(w)
    return ops.cast(w, summable_dtype(w))


def is_complex(w: Tensor) -> bool:
    """Whether the entries of `w` have an imaginary part."""
    return keras.backend.standardize_dtype(w.dtype).startswith("complex")


def summable_dtype(w: Tensor) -> str:
    """The dtype of sums over the entries of `w`."""
    dtype: str = keras.backend.standardize_dtype(w.dtype)
    if dtype == "complex128":
        return "float64"
    return dtype if dtype in ("float32", "float64") else "float32"


def absolute(w: Tensor) -> Tensor:
    """`abs(w)` with a gradient of 0 at 0; that of `ops.abs` is 1 on JAX."""
    return w * ops.stop_gradient(ops.sign(w))


def larger(x: Tensor, y: Tensor) -> Tensor:
    """`max(x, y)`, entry by entry; on torch `ops.maximum` gives float32."""
    return ops.where(x < y, y, x)


def smaller(x: Tensor, y: Tensor) -> Tensor:
    """`min(x, y)`, entry by entry; on torch `ops.minimum` gives float32."""
    return ops.where(x > y, y, x)


def capped(x: Tensor, limit: Tensor | float) -> Tensor:
    """`min(x, limit)` in the dtype of `x`, even if `limit` is a number."""
    return x - ops.relu(x - limit)


def l1_norm(w: Tensor) -> Tensor:
    """`sum(abs(w))`, whose gradient is `sign(w)`, 0 at 0."""
    if keras.backend.backend() == "jax":
        # On JAX the gradient of `abs` at 0 is 1, which would move a zero.
        return ops.sum(absolute(w))
    return ops.sum(ops.abs(w))


def squared_l2_norm(w: Tensor) -> Tensor:
    """`sum(w ** 2)`, with no half, as in Keras."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    if on_tensorflow and not keras.backend.is_keras_tensor(w):
        from kreg.regularizers import _tensorflow

        return _tensorflow.squared_l2_norm(w)
    return ops.sum(ops.square(w))


@dataclass(frozen=True, eq=False)
class Entries(ABC):
    """A function of each entry of a weight, with a weighted sum.

    Args:
        w: the weight.
    """

    w: Tensor

    @abstractmethod
    def total(self, factors: Tensor | None) -> Tensor:
        """The sum over entries, each multiplied by its factor.

        Args:
            factors: tensor that broadcasts to w's shape; None for 1.
        """


class Values(Entries):
    """The entries of `w` themselves."""

    def total(self, factors: Tensor | None) -> Tensor:
        return ops.sum(self.w if factors is None else self.w * factors)


class Sizes(Entries):
    """`abs(w)`, summed in one pass over the weight."""

    def total(self, factors: Tensor | None) -> Tensor:
        return l1_norm(self.w if factors is None else self.w * factors)


class Squares(Entries):
    """`w ** 2`, summed in one pass over the weight."""

    def total(self, factors: Tensor | None) -> Tensor:
        return squared_l2_norm(
            self.w if factors is None else self.w * ops.sqrt(factors)
        )


def group_norms(w: Tensor, groups: Grouping) -> Tensor:
    """The Euclidean norm of each group, whose gradient at 0 is 0.

    Returns:
        A tensor of the rank of `groups.view`, with axes of length 1.
    """
    squares = groups.total(ops.square(groups.grouped(w)))
    zero = squares == 0
    return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, squares)))
