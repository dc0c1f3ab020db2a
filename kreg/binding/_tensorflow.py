"""What binding must know of TensorFlow's distribution strategies."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf


@contextmanager
def strategy_scope(model: keras.Model) -> Iterator[None]:
    """The scope in which variables of `model` must be created.

    Outside of the function that is being traced, if any: a model may create
    weights in its first training step.
    """
    with tf.init_scope(), model.distribute_strategy.scope():
        yield


def replicas() -> int:
    """How many copies of the model share the step that is being run."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)
