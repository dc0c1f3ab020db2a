"""What binding must know of TensorFlow's distribution strategies."""

from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf


def strategy_scope(model: keras.Model) -> AbstractContextManager[Any]:
    """The scope in which variables of `model` must be created."""
    scope: AbstractContextManager[Any] = model.distribute_strategy.scope()
    return scope


def replicas() -> int:
    """How many copies of the model share the step that is being run."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)
