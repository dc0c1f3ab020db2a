"""`OptimizerRow`: effective step, gradient memory and momentum of an optimizer.

These are the facts that `ProximalOptimizer` and the statistics need.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from kreg._arguments import instance_of, nonempty_text, number_or_tensor
from kreg._types import Tensor


@dataclass(frozen=True)
class EffectiveStep:
    """The distance by which an optimizer moves a weight at its fixed point.

    Args:
        step: scalar or tensor of the weight's shape, the distance by which an
            update with a constant gradient of 1 moves each entry.
        limit: scalar or tensor of the weight's shape, the largest distance by
            which a proximal step may move an entry in one update; None for no
            limit. An optimizer that divides by the size of past gradients
            moves a weight by about its learning rate, however small the
            gradients are. A much longer proximal step would zero weights that
            have hardly any gradient; one that is shorter than the update
            cannot hold a weight at zero. Defaults to `None`.
        iterate: the variable that takes the proximal step in the weight's
            place, if the optimizer moves a variable of its own and derives
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

    def __post_init__(self) -> None:
        for name in ("step", "limit", "iterate_coefficient"):
            value = getattr(self, name)
            if not (name == "limit" and value is None):
                number_or_tensor(name, value)
        if self.iterate is not None:
            instance_of(
                "iterate", self.iterate, keras.Variable, "a `keras.Variable`"
            )


@dataclass(frozen=True)
class GradientMemory:
    """The moving average of past gradients that an optimizer keeps.

    kreg computes `optimality` from it: at a minimum, the average gradient of
    the data loss plus a subgradient of the penalty is 0.

    Args:
        slots: str, the attribute of the optimizer that holds the averages, a
            list with one variable for each weight. An empty list means that the
            optimizer keeps none.
        scale: function of the optimizer that returns the number by which to
            multiply a slot to get an average of the past gradients, or None if
            there is no average yet, as before the first update.

    Example: Adam's first moment is too small in its first updates.

    >>> import kreg
    >>> memory = kreg.optimizers.GradientMemory(
    ...     "_momentums",
    ...     lambda adam: 1.0 / (1.0 - adam.beta_1 ** int(adam.iterations))
    ...     if int(adam.iterations) else None)
    """

    slots: str
    scale: Callable[[Any], float | None]

    def __post_init__(self) -> None:
        nonempty_text(
            "slots", self.slots, "the name of an attribute of the optimizer"
        )
        if not callable(self.scale):
            raise TypeError(
                "`scale` must be a function of the optimizer that returns a "
                f"number or None. Received: scale={self.scale!r} "
                f"(of type {type(self.scale).__name__})"
            )


EffectiveStepRule: TypeAlias = Callable[[Any, Any, Tensor], EffectiveStep]
"""A function `(optimizer, variable, learning_rate) -> EffectiveStep`."""

Momentum: TypeAlias = Callable[[Any], float]
"""A function of an optimizer: the decay of its average of past gradients."""


@dataclass(frozen=True)
class OptimizerRow:
    """A row of the table of optimizers.

    Args:
        effective_step: the rule of its effective step, with the limit of a
            proximal step; None if the optimizer has no effective step.
        gradient_memory: the average of past gradients that it keeps; None if it
            keeps none.
        momentum: the decay of its average of past gradients, at least 0 and
            below 1; None if unknown.
        momentum_holds_rate: whether each past gradient enters the momentum
            multiplied by the learning rate of its time.
        momentum_holds_step: a function of the optimizer: whether its effective
            step changes so fast that the average of the past steps of each
            entry, over which its momentum averages past gradients, must be
            kept.
        refusal: why `ProximalOptimizer` refuses the optimizer, and what to use
            instead; empty if it does not.
    """

    effective_step: EffectiveStepRule | None = None
    gradient_memory: GradientMemory | None = None
    momentum: Momentum | None = None
    momentum_holds_rate: bool = False
    momentum_holds_step: Callable[[Any], bool] = lambda optimizer: False
    refusal: str = ""
