"""Compiling for TensorFlow."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from kreg._types import Tensor


def compiled(
    function: Callable[[Sequence[Tensor]], Tensor],
    values: Callable[[], Sequence[Tensor]],
) -> Callable[[], Tensor]:
    """`function(values())` as one graph, which reads variables by itself."""
    graph: Callable[[], Tensor] = tf.function(
        lambda: function(values()), autograph=False
    )
    return graph
