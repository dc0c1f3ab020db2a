"""Updates variables on TensorFlow: on every device, and in one fused pass."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kreg._types import Tensor
from kreg.tensorflow_messages import start_xla


def update_each(
    together: Sequence[Sequence[keras.Variable]],
    update: Callable[[int, Sequence[Any]], None],
) -> None:
    """Call `update(i, copies)` on each device that has copies of variables.

    Args:
        together: for each i, the variables to update together.
        update: function of i and the `tf.Variable`s to assign to.
    """

    def update_all(strategy: tf.distribute.Strategy) -> None:
        for i, (first, *others) in enumerate(together):
            strategy.extended.update(
                first.value,
                lambda *copies, i=i: update(i, copies),
                args=tuple(other.value for other in others),
                group=False,
            )

    tf.__internal__.distribute.interim.maybe_merge_call(
        update_all, tf.distribute.get_strategy()
    )


def is_sparse(gradient: object) -> bool:
    """Whether a gradient is sparse: the rows of a batch, perhaps repeated."""
    return isinstance(gradient, tf.IndexedSlices)


def means_over_devices(tensors: list[Tensor]) -> list[Tensor]:
    """The mean of each tensor over the devices that share a training step."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1 or not tensors:
        return tensors
    means: list[Tensor] = context.all_reduce(
        tf.distribute.ReduceOp.MEAN, tensors
    )
    return means


def fused(
    function: Callable[[], list[Tensor]], variables: Sequence[tf.Variable]
) -> list[Tensor]:
    """Return `function()`, compiled by XLA inside a graph that is not.

    A graph runs its operations one by one, and each makes a pass over the
    weights. The compiled function makes one pass, in about a fourth of the time
    (`benchmarks/proximal_step.py`). Compiling takes a tenth to a third of a
    second in the first step.

    It is compiled only on the first CPU, where XLA is always available, and not
    while operations run eagerly, because every step would then compile it
    again.

    Args:
        function: the function to call.
        variables: the variables that it may read; they determine the device.
    """
    if (
        tf.executing_eagerly()
        or tf.distribute.has_strategy()
        or not all(_is_on_first_cpu(device) for device in _devices(variables))
    ):
        return function()
    start_xla()
    compiled = tf.function(function, autograph=False, jit_compile=True)
    with tf.device("CPU:0"):  # even if the step around it runs elsewhere
        return compiled()


def _devices(variables: Sequence[tf.Variable]) -> set[str]:
    return {variable.device for variable in variables}


def _is_on_first_cpu(device: str) -> bool:
    if not device:  # the default device: a GPU or a TPU if there is one
        return not any(
            tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU")
        )
    return device.endswith("CPU:0")
