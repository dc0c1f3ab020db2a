"""The strength to start from, before any response has been seen."""

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kreg._keras_private import responsible_optimizer
from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding._applier import innermost_optimizer
from kreg.optimizers._effective_step import find_rule
from kreg.regularizers._norms import summable
from kreg.regularizers._strength import cast_strengths

# Powers of two within which the factor is looked for.
_WIDEST = 64


def first_log_factor(
    variables: Sequence[keras.Variable],
    strengths: Sequence[dict[str, Tensor | float]],
    optimizer: keras.optimizers.Optimizer,
    updates: float,
    sparsity: Callable[[Sequence[Tensor]], float],
    target: float,
) -> float:
    """By what to multiply strengths to reach a sparsity in some updates.

    It is what one proximal step as long as all of these updates together
    would need: as if the data were indifferent to the weights. So it is a low
    estimate where there are many updates, and of the right scale where there
    are few. To a factor of 2.

    Args:
        variables: the weights, bound to their model.
        strengths: the strengths of each.
        optimizer: the model's optimizer, after at least one update.
        updates: the number of updates.
        sparsity: tells the sparsity from the values of the weights.
        target: the sparsity to reach.

    Returns:
        The logarithm of the factor.
    """
    inner = innermost_optimizer(optimizer)
    starts = [_start(inner, v, updates) for v in variables]

    def reached(power: int) -> bool:
        values = []
        for variable, (w, step), strength in zip(
            variables, starts, strengths, strict=True
        ):
            bound: BoundPenalty = variable.regularizer
            scaled = {k: s * 2.0**power for k, s in strength.items()}
            values.append(
                bound.penalty.proximal_step(
                    w, step, cast_strengths(scaled, w.dtype), bound.groups
                )
            )
        return sparsity(values) >= target

    low, high = -_WIDEST, _WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high * math.log(2.0)


def _start(
    inner: keras.optimizers.Optimizer,
    variable: keras.Variable,
    updates: float,
) -> tuple[Tensor, Tensor]:
    """The weight that proximal steps act on, and how far they would go."""
    optimizer = responsible_optimizer(inner, variable)
    rate = ops.cast(optimizer.learning_rate, variable.dtype)
    effective = find_rule(optimizer)(optimizer, variable, rate)
    w = summable(variable if effective.iterate is None else effective.iterate)
    step = ops.cast(effective.step, w.dtype) * updates
    longest: float = variable.regularizer.penalty.longest_step
    if effective.limit is not None and longest < math.inf:
        step = ops.minimum(step, longest)
    return w, step
