"""The first strength with which a target is steered to."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import updating_optimizer
from kreg.binding.ties import tie_part
from kreg.optimizers.table import effective_step_rule
from kreg.regularizers.norms import summable
from kreg.regularizers.strength import cast_strengths

# The factor is searched between 2**-64 and 2**64.
_LARGEST_POWER = 64


def first_log_factor(
    variables: Sequence[keras.Variable],
    strengths: Sequence[dict[str, Tensor | float]],
    optimizers: Sequence[keras.optimizers.Optimizer | None],
    *,
    updates: float,
    sparsity: Callable[[Sequence[Tensor]], float],
    target: float,
) -> float:
    """A first guess of the factor of the strengths that reaches a sparsity.

    With this factor, one proximal step as long as all updates together reaches
    the sparsity. The guess ignores the gradients, which resist the penalty. So
    it is of the right size for few updates, and too low for many. It is a power
    of 2.

    Args:
        variables: the weights, bound to their model.
        strengths: the strengths of each.
        optimizers: the optimizer of each, after at least one update.
        updates: the number of updates.
        sparsity: computes the sparsity of the weights from their values.
        target: the sparsity to reach.

    Returns:
        The logarithm of the factor.
    """
    starts = [
        _start(updating_optimizer(optimizer, variable), variable, updates)
        for optimizer, variable in zip(optimizers, variables, strict=True)
    ]

    ties: dict[int, list[int]] = {}
    for i, variable in enumerate(variables):
        part = tie_part(variable)
        ties.setdefault(id(variable if part is None else part.tie), []).append(
            i
        )

    def reached(power: int) -> bool:
        values: dict[int, Tensor] = {}
        for members in ties.values():
            strength = strengths[members[0]]
            scaled = {k: s * 2.0**power for k, s in strength.items()}
            after = _after_steps(
                [variables[i] for i in members],
                [starts[i] for i in members],
                scaled,
            )
            values.update(zip(members, after, strict=True))
        return sparsity([values[i] for i in range(len(starts))]) >= target

    low, high = -_LARGEST_POWER, _LARGEST_POWER
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high * math.log(2.0)


def _after_steps(
    variables: Sequence[keras.Variable],
    starts: Sequence[tuple[Tensor, Tensor]],
    strengths: dict[str, Tensor | float],
) -> list[Tensor]:
    """The values of a weight, or of the weights of a tie, after proximal steps.

    Args:
        variables: the weight or weights.
        starts: for each, the tensor to step from, and the length of the step.
        strengths: the strengths of their penalty.
    """
    bounds: list[BoundPenalty] = [v.regularizer for v in variables]
    penalty = bounds[0].penalty
    parts = [part for part in map(tie_part, variables) if part is not None]
    if parts:
        groups = parts[0].tie.groups(parts)
        w, steps = zip(*starts, strict=True)
        return groups.proximal_step(penalty, w, steps, strengths)
    (w, step), (bound,) = starts[0], bounds
    strengths = cast_strengths(strengths, w.dtype)
    return [penalty.proximal_step(w, step, strengths, bound.groups)]


def _start(
    optimizer: Any,
    variable: keras.Variable,
    updates: float,
) -> tuple[Tensor, Tensor]:
    """The tensor that proximal steps act on, and the sum of their lengths.

    Args:
        optimizer: computes the weight's updates.
        variable: the weight.
        updates: the number of updates.
    """
    rate = ops.cast(optimizer.learning_rate, variable.dtype)
    effective = effective_step_rule(optimizer)(optimizer, variable, rate)
    w = summable(variable if effective.iterate is None else effective.iterate)
    step = ops.cast(effective.step, w.dtype) * updates
    longest: float = variable.regularizer.penalty.longest_step
    if effective.limit is not None and longest < math.inf:
        step = ops.minimum(step, longest)
    return w, step
