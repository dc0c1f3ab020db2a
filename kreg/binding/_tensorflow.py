"""TensorFlow's distribution strategies: their scope and their replicas."""

from collections.abc import Iterator
from contextlib import contextmanager

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
    """Whether operations run at once, not in a function that is traced."""
    return bool(tf.executing_eagerly())
