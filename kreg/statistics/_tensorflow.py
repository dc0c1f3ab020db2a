"""Compiling a reading on TensorFlow: one graph, and XLA for large weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kreg._types import Tensor
from kreg.statistics._batch_pass import BLOCK

_SMALLEST_BLOCKED = 16 * BLOCK


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
    """`function` for weights like `w`: in blocks where that is faster.

    A graph makes a pass over the weight for each operation. XLA makes one pass
    for all of them, if it takes the entries in blocks. That is faster for large
    weights on a CPU; a GPU is fast without it.
    """
    size = w.shape.num_elements()
    if tf.config.list_logical_devices("GPU") or size < _SMALLEST_BLOCKED:
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
