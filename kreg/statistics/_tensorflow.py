"""Compiling a reading on TensorFlow: one graph, and XLA for large weights."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from kreg._types import Tensor
from kreg.statistics._batch_pass import BLOCK
from kreg.tensorflow_messages import start_xla

_SMALLEST_BLOCKED = 16 * BLOCK


def compiled(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """`function(values of variables, *numbers)` as a graph."""

    def run(*numbers: Tensor) -> Any:
        return function([tf.convert_to_tensor(v) for v in variables], *numbers)

    return as_graph(run)


def as_graph(
    function: Callable[..., Any], **settings: Any
) -> Callable[..., Any]:
    """`function` as one graph, with settings of `tf.function`.

    TensorFlow counts traces by the code of a function, and would warn of
    retracing if many models have a graph each. A `partial` has no code, which
    avoids the warning.
    """
    graph: Callable[..., Any] = tf.function(
        partial(function), autograph=False, **settings
    )
    return graph


def blocked(function: Callable[..., Any], w: Tensor) -> Callable[..., Any]:
    """`function` for weights like `w`, in blocks if that is faster.

    A graph makes a pass over the weight for each operation. XLA makes one pass
    for all operations if it takes the entries in blocks. That is faster for
    large weights on a CPU; a GPU is fast without it.
    """
    size = w.shape.num_elements()
    if tf.config.list_logical_devices("GPU") or size < _SMALLEST_BLOCKED:
        return function
    start_xla()
    jitted = as_graph(partial(function, blocked=True), jit_compile=True)

    def on_first_cpu(*arguments: Any) -> Any:
        with tf.device("CPU:0"):
            return jitted(*arguments)

    return on_first_cpu
