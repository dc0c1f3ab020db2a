"""The optimizer that updates a weight, and Python expressions for it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from kreg._keras_private import chosen_optimizer
from kreg.binding.binding import PenaltyApplier
from kreg.foreign_objects import result_or_none

_WRAPPERS = (PenaltyApplier, keras.optimizers.LossScaleOptimizer)


@dataclass(frozen=True)
class WeightOptimizer:
    """The optimizer that updates a weight, and an expression for it.

    Args:
        optimizer: the optimizer that computes the updates, without wrappers.
        code: an expression for it, such as `model.optimizer`, or None.
        applies_penalties: whether a `ProximalOptimizer` wraps it.
        unscaled: the model's whole optimizer, inside any `LossScaleOptimizer`.
        unscaled_code: an expression for `unscaled`.
    """

    optimizer: keras.optimizers.Optimizer
    code: str | None
    applies_penalties: bool
    unscaled: keras.optimizers.Optimizer
    unscaled_code: str

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self.optimizer).__name__


def optimizer_of_weight(
    variable: keras.Variable,
    whole: keras.optimizers.Optimizer,
    code: str,
) -> WeightOptimizer | None:
    """The part of an optimizer that updates a weight.

    None if a `MultiOptimizer` does not say which member that is.

    Args:
        variable: the weight.
        whole: the optimizer that updates it, with any wrappers.
        code: an expression for `whole`.
    """
    while isinstance(whole, keras.optimizers.LossScaleOptimizer):
        whole, code = whole.inner_optimizer, f"{code}.inner_optimizer"
    part: Any = whole
    part_code: str | None = code
    applies = False
    while True:
        if isinstance(part, PenaltyApplier):
            applies = True
        if isinstance(part, _WRAPPERS):
            part = part.inner_optimizer
            part_code = part_code and f"{part_code}.inner_optimizer"
        elif isinstance(part, keras.optimizers.MultiOptimizer):
            chosen = result_or_none(partial(chosen_optimizer, part, variable))
            if chosen is None or chosen is part:
                return None
            part_code = _code_of_part(part, chosen, part_code)
            part = chosen
        else:
            return WeightOptimizer(part, part_code, applies, whole, code)


def _code_of_part(multi: Any, chosen: Any, code: str | None) -> str | None:
    for index, optimizer in enumerate(multi.optimizers):
        if optimizer is chosen and code is not None:
            return f"{code}.optimizers[{index}]"
    return None
