"""Norms of weights, summed in at least single precision."""

import keras
from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping


def summable(w: Tensor) -> Tensor:
    """Return `w` as a tensor whose dtype can hold a sum over its entries.

    Integers and half precision become float32: the sum of squares of float16
    numbers overflows at 65504.
    """
    if not keras.backend.is_keras_tensor(w):
        w = ops.convert_to_tensor(w)
    return ops.cast(w, summable_dtype(w))


def summable_dtype(w: Tensor) -> str:
    """The dtype of sums over the entries of `w`."""
    dtype: str = keras.backend.standardize_dtype(w.dtype)
    return dtype if dtype in ("float32", "float64") else "float32"


def l1_norm(w: Tensor) -> Tensor:
    """`sum(abs(w))`, whose gradient is `sign(w)`, 0 at 0."""
    if keras.backend.backend() == "jax":
        # There the gradient of `abs` at 0 is 1, which would move a zero.
        return ops.sum(w * ops.stop_gradient(ops.sign(w)))
    return ops.sum(ops.abs(w))


def squared_l2_norm(w: Tensor) -> Tensor:
    """`sum(w ** 2)`, with no half, as in Keras."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    if on_tensorflow and not keras.backend.is_keras_tensor(w):
        from kreg.regularizers import _tensorflow

        return _tensorflow.squared_l2_norm(w)
    return ops.sum(ops.square(w))


def weighted(
    w: Tensor, factors: Tensor | None, *, root: bool = False
) -> Tensor:
    """`w * factors`, or `w * sqrt(factors)`; w where there are none."""
    if factors is None:
        return w
    return w * (ops.sqrt(factors) if root else factors)


def group_norms(w: Tensor, groups: Grouping) -> Tensor:
    """The Euclidean norm of each group, whose gradient at 0 is 0.

    In the view of `groups`, with axes of length 1.
    """
    squares = groups.total(ops.square(groups.grouped(w)))
    zero = squares == 0
    return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, squares)))
