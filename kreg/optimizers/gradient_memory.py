"""Reads the average of a weight's past gradients from its optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kreg._keras_private import built_variables, responsible_optimizer, slot
from kreg._types import Tensor
from kreg.binding.binding import innermost_optimizer, penalty_applier
from kreg.optimizers._past_rates import place_of
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
        rates: the averages of the learning rates in the slots; None if the
            slots include none, or if no optimizer keeps their average.
        place: the index of the weight's average in `rates`.
        fraction: the average fraction of the gradients in the slot that
            clipping leaves; None without clipping, or if no optimizer keeps it.
    """

    slot: keras.Variable
    optimizer: keras.optimizers.Optimizer
    scale: Callable[[Any], float | None]
    of_data: bool
    rates: keras.Variable | None
    place: int
    fraction: keras.Variable | None

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables that `unclipped` takes the values of."""
        if self.fraction is None:
            return [self.slot]
        return [self.slot, self.fraction]


def unclipped(slot: Tensor, fraction: Tensor | None = None) -> Tensor:
    """The average of gradients in a slot, as it would be without clipping."""
    if fraction is None:
        return slot
    left = ops.cast(fraction, slot.dtype)
    return slot / ops.where(left > 0, left, ops.ones_like(left))


def gradient_scales(
    memories: Sequence[RememberedGradient | None],
) -> list[float | None]:
    """The factor by which each slot must be multiplied now, or None.

    It is computed once for all weights of an optimizer whose slots hold the
    same average of learning rates.
    """
    averages: dict[int, Any] = {}
    found: dict[tuple[int, float | None], float | None] = {}
    scales: list[float | None] = []
    for memory in memories:
        if memory is None:
            scales.append(None)
            continue
        optimizer, rate = memory.optimizer, None
        if memory.rates is not None:
            key = id(memory.rates)
            if key not in averages:
                averages[key] = ops.convert_to_numpy(memory.rates)
            # It is 0 before the first update.
            rate = float(averages[key][memory.place]) or None
        of_rate = id(optimizer), rate
        if of_rate not in found:
            held = optimizer if rate is None else _AtRate(optimizer, rate)
            found[of_rate] = memory.scale(held)
        scales.append(found[of_rate])
    return scales


class _AtRate:
    """An optimizer as it would be at another learning rate, to be read."""

    def __init__(self, optimizer: Any, learning_rate: float) -> None:
        self._optimizer = optimizer
        self.learning_rate = learning_rate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)


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
    applier: Any = penalty_applier(optimizer)
    rates, fraction = None, None
    if applier is not None:
        rates = applier.rate_averages.get(id(responsible))
        fraction = applier.fraction_averages[place_of(applier, variable)]
    return RememberedGradient(
        slot(responsible, memory.slots, variable),
        responsible,
        memory.scale,
        applier is not None,
        rates,
        place_of(responsible, variable),
        fraction,
    )
