"""Norms of weights, summed in at least single precision."""

import keras
from keras import ops

from kreg._types import Tensor


def summable(w: Tensor) -> Tensor:
    """Return `w` as a tensor whose dtype can hold a sum over its entries.

    Integers and half precision become float32: the sum of squares of float16
    numbers overflows at 65504.
    """
    if not keras.backend.is_keras_tensor(w):
        w = ops.convert_to_tensor(w)
    dtype = keras.backend.standardize_dtype(w.dtype)
    if dtype in ("float32", "float64"):
        return w
    return ops.cast(w, "float32")


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
