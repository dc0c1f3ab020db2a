"""A reading's computation on TensorFlow: one graph, XLA for large weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kreg._types import Tensor
from kreg.statistics._batch_pass import BLOCK

_WORTH_COMPILING = 16 * BLOCK


def compiled(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """`function(values of variables, *numbers)` as a graph."""

    @tf.function(autograph=False)
    def run(*numbers: Tensor) -> Any:
        return function([tf.convert_to_tensor(v) for v in variables], *numbers)

    return run


def as_graph(function: Callable[[], None]) -> Callable[[], None]:
    """`function` as one graph."""
    graph: Callable[[], None] = tf.function(function, autograph=False)
    return graph


def blocked(function: Callable[..., Any], w: Tensor) -> Callable[..., Any]:
    """`function`, in blocks where that is faster for a weight like `w`.

    A graph makes a pass over the weight for each operation; XLA makes one for
    all, if it takes the entries by blocks. On a CPU alone: other devices do it
    well by themselves.
    """
    size = w.shape.num_elements()
    if tf.config.list_logical_devices("GPU") or size < _WORTH_COMPILING:
        return function
    jitted = tf.function(
        lambda *arguments: function(*arguments, blocked=True),
        autograph=False,
        jit_compile=True,
    )

    def on_first_cpu(*arguments: Any) -> Any:
        with tf.device("CPU:0"):
            return jitted(*arguments)

    return on_first_cpu
