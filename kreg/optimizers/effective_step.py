"""The effective step: how far one unit of gradient moves a weight."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
            size of past gradients cannot move a weight farther than about
            its learning rate, however small they were; a proximal step must
            not either, or it wipes the weights that had hardly any.
            Defaults to `None`.
        iterate: what takes the proximal step in the weight's place, where the
            optimizer moves a variable of its own and derives the weight from
            it. Defaults to `None`: the weight itself.
        share: scalar, how far the weight moves with its iterate, in parts of
            the iterate's way. Defaults to `1.0`.

    Example:

    >>> import kreg
    >>> kreg.optimizers.EffectiveStep(step=0.1).step
    0.1
    """

    step: Tensor
    limit: Tensor | None = None
    iterate: keras.Variable | None = None
    share: Tensor | float = 1.0


Rule = Callable[[Any, Any, Tensor], EffectiveStep]
_rules: dict[type, Rule] = {}


def register_effective_step(
    optimizer_class: type[keras.optimizers.Optimizer],
) -> Callable[[Rule], Rule]:
    """Tell `ProximalOptimizer` the effective step of an optimizer.

    Args:
        optimizer_class: a subclass of `keras.optimizers.Optimizer`. Its own
            subclasses are served too unless they override `update_step`.

    Returns:
        A decorator of a function
        `(optimizer, variable, learning_rate) -> EffectiveStep`, called after
        each update with the learning rate that it used, a scalar tensor of the
        variable's dtype; `optimizer.iterations` counts that update. On
        TensorFlow it must be something that XLA compiles.

    Example:

    >>> import keras, kreg
    >>> class PlainDescent(keras.optimizers.SGD):
    ...     def update_step(self, gradient, variable, learning_rate):
    ...         self.assign_sub(variable, learning_rate * gradient)
    >>> @kreg.optimizers.register_effective_step(PlainDescent)
    ... def plain_descent(optimizer, variable, learning_rate):
    ...     return kreg.optimizers.EffectiveStep(learning_rate)
    """

    def register(rule: Rule) -> Rule:
        _rules[optimizer_class] = rule
        return rule

    return register


def find_rule(optimizer: keras.optimizers.Optimizer) -> Rule:
    """The rule of an optimizer.

    Raises:
        ValueError: if it has none, naming those that have.
    """
    cls = type(optimizer)
    for base in cls.__mro__:
        if base in _rules and _same_update(cls, base):
            return _rules[base]
    known = sorted({base.__name__ for base in _rules})
    raise ValueError(
        "`inner_optimizer` must be an optimizer whose effective step is known: "
        f"{', '.join(known)}, or one registered with "
        "`kreg.optimizers.register_effective_step`. "
        f"{_REASONS.get(cls.__name__, '')}"
        f"Received: inner_optimizer={optimizer!r} (of type {cls.__name__})"
    )


def _same_update(cls: type, base: Any) -> bool:
    return getattr(cls, "update_step", None) is base.update_step


_REASONS = {
    "Ftrl": (
        "Ftrl replaces weights by a function of its accumulators, so a "
        "proximal step on the weights is undone; it also zeroes pretrained "
        "weights. Use Adagrad. "
    ),
    "Lion": (
        "Lion moves by the sign of the gradient, so its fixed point has no "
        "effective step. Use Adam. "
    ),
    "Lamb": (
        "Lamb scales a whole layer by its own norm, which a proximal step "
        "changes. Use Adam. "
    ),
    "Muon": (
        "Muon orthogonalizes the update of a matrix, so an entry has no "
        "effective step of its own. Use Adam. "
    ),
    "Adafactor": (
        "Adafactor factors its second moments and scales by the weights' own "
        "size. Use Adam. "
    ),
    "ScheduleFreeAdamW": (
        "Keras computes ScheduleFreeAdamW rightly on the JAX backend alone: on "
        "the others its averages are off and weights hardly move. Use Adam "
        "with a `CosineDecay`, or the JAX backend. "
    ),
    "MultiOptimizer": (
        "A MultiOptimizer goes directly inside: "
        "ProximalOptimizer(MultiOptimizer(...)). "
    ),
    "LossScaleOptimizer": (
        "Put the ProximalOptimizer inside: "
        "LossScaleOptimizer(ProximalOptimizer(...)). "
    ),
    "ProximalOptimizer": "One ProximalOptimizer is enough. ",
}
