"""Pending proximal steps: prepared before an update, and taken after it."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import keras
from keras import ops

from kreg._keras_private import responsible_optimizer
from kreg._types import Tensor
from kreg.optimizers._past_rates import PendingRates
from kreg.optimizers._terms import Term, state_after_error
from kreg.optimizers.optimizer_row import EffectiveStepRule
from kreg.optimizers.table import (
    effective_step_rule,
    momentum_of,
    refuse_changed_gradients,
)
from kreg.regularizers import Penalty


@dataclass(frozen=True)
class PendingWeight:
    """A weight that takes part in a proximal step after the running update.

    Args:
        variable: the weight.
        optimizer: the optimizer that updates it.
        rule: the rule of its effective step.
        momentum: the decay of the optimizer's momentum.
        rate: the learning rate of the update, averaged over past updates if
            the optimizer's momentum includes their rates.
        updates: the number of updates before this one.
        before: the weight before the update, if its penalty is not convex or
            its gradient is sparse; else None.
        fraction: the fraction of the gradient that clipping leaves, a scalar or
            a tensor of the weight's shape; None without clipping.
        average: the average of that fraction over past updates; None without
            clipping or momentum.
        constraint: projects the weight after the step; None without one.
    """

    variable: keras.Variable
    optimizer: keras.optimizers.Optimizer
    rule: EffectiveStepRule
    momentum: float
    rate: Tensor
    updates: Tensor
    before: Tensor | None
    fraction: Tensor | None
    average: keras.Variable | None
    constraint: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class PendingStep:
    """A proximal step to take after the update of the running step.

    Args:
        term: the penalty.
        weights: the weights that it acts on together.
    """

    term: Term
    weights: tuple[PendingWeight, ...]


def pending_steps(
    terms: Sequence[Term],
    inner_optimizer: keras.optimizers.Optimizer,
    fractions: Mapping[int, Tensor],
    averages: Mapping[int, keras.Variable | None],
    rates: Mapping[int, PendingRates],
    sparse: Collection[int] = (),
) -> list[PendingStep]:
    """The proximal steps of `terms`, with values read before the update.

    Args:
        terms: the penalties and their weights.
        inner_optimizer: the optimizer that updates them.
        fractions: the fractions of gradients that clipping leaves, by `id` of
            the variable.
        averages: the averages of fractions, by `id` of the variable.
        rates: the averages of learning rates, by `id` of the optimizer.
        sparse: the `id` of each variable whose gradient is sparse.

    Raises:
        ValueError: if the effective step of an optimizer is unknown; if its
            momentum is unknown and a penalty is not convex; or if the weights
            of a tie are not all updated in the same steps.
    """

    def rate_of(
        optimizer: keras.optimizers.Optimizer, variable: keras.Variable
    ) -> Tensor:
        rate = ops.convert_to_tensor(optimizer.learning_rate) + 0.0
        held = rates.get(id(optimizer))
        return rate if held is None else held.rate_of(variable, rate)

    def pending(term: Term, variable: keras.Variable) -> PendingWeight:
        key = id(variable)
        optimizer = responsible_optimizer(inner_optimizer, variable)
        rule = effective_step_rule(optimizer)
        refuse_changed_gradients(optimizer)
        momentum = momentum_of(optimizer)
        is_convex = term.penalty.longest_step == math.inf
        if momentum is None and not is_convex:
            raise _unknown_momentum(term, variable, optimizer)
        return PendingWeight(
            variable,
            optimizer,
            rule,
            momentum or 0.0,
            rate=rate_of(optimizer, variable),
            updates=ops.convert_to_tensor(optimizer.iterations) + 0,
            before=None
            if is_convex and key not in sparse
            else _value(variable),
            fraction=fractions.get(key),
            average=averages.get(key),
            constraint=variable.constraint,
        )

    steps = []
    for term in terms:
        if not _never_acts(term.penalty):
            weights = tuple(pending(term, v) for v in term.variables)
            _refuse_unequal_accumulation(term, weights)
            steps.append(PendingStep(term, weights))
    return steps


def _refuse_unequal_accumulation(
    term: Term, weights: Sequence[PendingWeight]
) -> None:
    """Raise if the weights of a tie accumulate gradients over unequal steps."""
    counts = {w.optimizer.gradient_accumulation_steps or 1 for w in weights}
    if len(counts) > 1:
        paths = ", ".join(f"`{w.variable.path}`" for w in weights)
        raise ValueError(
            f"The penalty {term.penalty!r} ties weights that must be updated "
            "in the same steps: give the members of the MultiOptimizer the "
            f"same `gradient_accumulation_steps`. {state_after_error()} "
            f"Received: {sorted(counts)} for {paths}"
        )


def _value(variable: keras.Variable) -> Tensor:
    """A copy of the present value, unaffected by later updates."""
    return ops.convert_to_tensor(variable) + 0.0


def _never_acts(penalty: Penalty) -> bool:
    """Whether every strength is the number 0, whatever the multiplier."""
    strengths = [getattr(penalty, name) for name in penalty.strength_names()]
    return all(isinstance(s, float) and s == 0.0 for s in strengths)


def _unknown_momentum(
    term: Term,
    variable: keras.Variable,
    optimizer: keras.optimizers.Optimizer,
) -> ValueError:
    cls = type(optimizer).__name__
    return ValueError(
        f"The penalty {term.penalty!r} of `{variable.path}` is not "
        "convex, so the length of its step depends on the optimizer's "
        f"momentum, and that of {cls} is not known. Use SGD, Adam or a convex "
        "penalty such as `kreg.L1`; for an optimizer of your own pass "
        f"`momentum` to `kreg.optimizers.register_optimizer({cls})`. "
        f"{state_after_error()} "
        f"Received: inner_optimizer={optimizer!r} (of type {cls})"
    )
