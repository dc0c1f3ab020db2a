"""Updating variables under TensorFlow's distribution strategies."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


def update_each(
    variables: Sequence[keras.Variable], update: Callable[[int, Any], None]
) -> None:
    """Call `update(i, copy)` for every copy of each variable, on its device.

    Args:
        variables: the variables.
        update: takes the place of a variable in the sequence and the
            `tf.Variable` to assign to.
    """

    def update_all(strategy: tf.distribute.Strategy) -> None:
        for i, variable in enumerate(variables):
            strategy.extended.update(
                variable.value,
                lambda copy, i=i: update(i, copy),
                group=False,
            )

    tf.__internal__.distribute.interim.maybe_merge_call(
        update_all, tf.distribute.get_strategy()
    )
