"""Reads the average of a weight's past gradients from its optimizer."""

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
        slot: the variable that holds the average.
        optimizer: the optimizer that updates the weight.
        scale: `scale(optimizer)` is the present factor by which to multiply the
            slot, or None before the first update.
        of_data: whether the gradients are those of the data loss alone, without
            the gradients of penalties.
    """

    slot: keras.Variable
    optimizer: keras.optimizers.Optimizer
    scale: Callable[[Any], float | None]
    of_data: bool


def gradient_memory(
    optimizer: keras.optimizers.Optimizer | None, variable: keras.Variable
) -> RememberedGradient | None:
    """The average of past gradients of `variable` that `optimizer` keeps.

    SGD with momentum, Adam and its relatives keep one. Most other optimizers
    keep the sizes of gradients, without signs.

    Args:
        optimizer: the optimizer of a model, with any wrappers.
        variable: a weight.

    Returns:
        None if the optimizer keeps no average of gradients, or does not update
        the weight.
    """
    inner = innermost_optimizer(optimizer)
    if inner is None or not inner.built:
        return None
    responsible: Any = responsible_optimizer(inner, variable)
    if all(built is not variable for built in built_variables(responsible)):
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
