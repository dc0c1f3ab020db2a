"""Updating variables on TensorFlow: on every device, and in one pass."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kreg._types import Tensor


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


def fused(
    function: Callable[[], list[Tensor]], variables: Sequence[tf.Variable]
) -> list[Tensor]:
    """Call `function`, compiled by XLA where the graph around it is not.

    A graph runs its operations one by one, each a pass over the weights; the
    compiled function makes one pass, in about a fourth of the time
    (`benchmarks/proximal_step.py`), for a tenth to a third of a second at the
    first step. On the first CPU alone, where the compiler is always there; and
    not while operations run eagerly, which would compile anew in every step.

    Args:
        function: what to call.
        variables: those that it may read, which tell the device.
    """
    if (
        tf.executing_eagerly()
        or tf.distribute.has_strategy()
        or not all(_is_on_first_cpu(device) for device in _devices(variables))
    ):
        return function()
    compiled = tf.function(function, autograph=False, jit_compile=True)
    with tf.device("CPU:0"):  # whatever device the step is run on
        return compiled()


def _devices(variables: Sequence[tf.Variable]) -> set[str]:
    return {variable.device for variable in variables}


def _is_on_first_cpu(device: str) -> bool:
    if not device:  # the default, which is a GPU or a TPU if there is one
        return not any(
            tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU")
        )
    return device.endswith("CPU:0")
