"""What kreg must know of an optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from kreg._types import Tensor


@dataclass(frozen=True)
class EffectiveStep:
    """How far an optimizer moves a weight at its fixed point.

    Args:
        step: scalar or tensor of the weight's shape, the distance that one
            unit of a constant gradient moves each entry, in one update.
        limit: scalar, the farthest that a proximal step may move an entry in
            one update; None for no limit. An optimizer that divides by the
            size of past gradients moves a weight by at most about its learning
            rate, however small the gradients were. A longer proximal step
            would wipe the weights that had hardly any gradient. Defaults to
            `None`.
        iterate: the variable that takes the proximal step in the weight's
            place, where the optimizer moves a variable of its own and derives
            the weight from it. Defaults to `None`: the weight itself.
        iterate_coefficient: scalar, the distance that the weight moves when
            its iterate moves by 1. Defaults to `1.0`.

    Example:

    >>> import kreg
    >>> kreg.optimizers.EffectiveStep(step=0.1).step
    0.1
    """

    step: Tensor
    limit: Tensor | None = None
    iterate: keras.Variable | None = None
    iterate_coefficient: Tensor | float = 1.0


@dataclass(frozen=True)
class GradientMemory:
    """The moving average of past gradients that an optimizer keeps.

    It makes `optimality` known: the average gradient of the data loss plus a
    subgradient of the penalty is 0 at a minimum.

    Args:
        slots: str, the attribute of the optimizer that holds the averages, a
            list with one variable for each weight. Where the list is empty,
            there is no memory.
        scale: function of the optimizer, the number that a slot must be
            multiplied by to be an average of the past gradients; None as long
            as there is none, such as before the first update.

    Example: Adam's first moment is too small in its first updates.

    >>> import kreg
    >>> memory = kreg.optimizers.GradientMemory(
    ...     "_momentums",
    ...     lambda adam: 1.0 / (1.0 - adam.beta_1 ** int(adam.iterations))
    ...     if int(adam.iterations) else None)
    """

    slots: str
    scale: Callable[[Any], float | None]


EffectiveStepRule: TypeAlias = Callable[[Any, Any, Tensor], EffectiveStep]
"""A function `(optimizer, variable, learning_rate) -> EffectiveStep`."""


@dataclass(frozen=True)
class OptimizerRow:
    """A row of the table of optimizers.

    Args:
        effective_step: the rule of its effective step, with the limit of a
            proximal step; None where it has none.
        gradient_memory: the average of past gradients that it keeps; None
            where it keeps none.
        refusal: why `ProximalOptimizer` does not take it, and what to use
            instead; empty where it does.
    """

    effective_step: EffectiveStepRule | None = None
    gradient_memory: GradientMemory | None = None
    refusal: str = ""
