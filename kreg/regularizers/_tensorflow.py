"""What only TensorFlow can do faster."""

import tensorflow as tf

from kreg._types import Tensor


def squared_l2_norm(w: Tensor) -> Tensor:
    """`sum(w ** 2)` in one kernel, with no array of squares in memory.

    Its gradient is one multiplication where that of `sum(square(w))` is two:
    about two thirds of the added step time (`benchmarks/penalties.py`).
    """
    return 2.0 * tf.nn.l2_loss(w)
