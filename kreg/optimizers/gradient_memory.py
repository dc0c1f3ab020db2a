"""The average of past gradients that an optimizer keeps of one weight."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from kreg._keras_private import built_variables, responsible_optimizer, slot
from kreg.binding.binding import innermost_optimizer, penalty_applier
from kreg.optimizers.table import row_of


@dataclass(frozen=True)
class RememberedGradient:
    """A moving average of the past gradients of a weight, up to a factor.

    Args:
        slot: the variable that holds it.
        optimizer: the optimizer that updates the weight.
        scale: `scale(optimizer)` is what the slots of that optimizer must be
            multiplied by now, or None before its first update.
        of_data: whether the gradients are those of the data loss alone;
            otherwise they hold the penalties' gradients too.
    """

    slot: keras.Variable
    optimizer: keras.optimizers.Optimizer
    scale: Callable[[Any], float | None]
    of_data: bool


def gradient_memory(
    optimizer: keras.optimizers.Optimizer | None, variable: keras.Variable
) -> RememberedGradient | None:
    """What `optimizer` remembers of the gradient of `variable`.

    SGD with momentum, Adam and its relatives keep an average of gradients;
    most others keep sizes, without signs.

    Args:
        optimizer: the optimizer of a model, whatever it is wrapped in.
        variable: a weight.

    Returns:
        None where the optimizer keeps no average of gradients, or does not
        update the weight.
    """
    inner = innermost_optimizer(optimizer)
    if inner is None or not inner.built:
        return None
    responsible: Any = responsible_optimizer(inner, variable)
    if all(known is not variable for known in built_variables(responsible)):
        return None
    memory = row_of(type(responsible)).gradient_memory
    if memory is None or not getattr(responsible, memory.slots):
        return None
    return RememberedGradient(
        slot(responsible, memory.slots, variable),
        responsible,
        memory.scale,
        penalty_applier(optimizer) is not None,
    )
