"""TensorFlow's distribution strategies: their scope and their replicas."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def strategy_scope(model: keras.Model) -> Iterator[None]:
    """The scope in which variables of `model` must be created.

    It leaves the function that is being traced, if any, because a model may
    create weights in its first training step.
    """
    with tf.init_scope(), model.distribute_strategy.scope():
        yield


def replicas() -> int:
    """The number of copies of the model that run the current step together."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def is_eager() -> bool:
    """Whether operations run eagerly, not in a function that is traced."""
    return bool(tf.executing_eagerly())


def is_reachable(tensor: Any) -> bool:
    """Whether the function that is traced now, if any, can use `tensor`."""
    if not tf.is_symbolic_tensor(tensor):
        return True
    if tf.executing_eagerly():
        return False
    return tensor.graph is tf.compat.v1.get_default_graph()


# The operations on a variable's handle that do not change its value.
_READS = frozenset(
    {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"}
)


def may_be_updated(variable: keras.Variable) -> bool:
    """Whether the function that is traced now may assign to `variable`.

    True where that cannot be known: outside of a traced function, or on several
    devices.
    """
    if tf.executing_eagerly() or replicas() > 1:
        return True
    graph = tf.compat.v1.get_default_graph()
    handle = graph.capture(variable.handle)
    return any(use.type not in _READS for use in handle.consumers())
