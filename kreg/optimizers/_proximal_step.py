"""The proximal steps that follow an optimizer's update."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from kreg._keras_private import responsible_optimizer, slot
from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import PenaltyApplier
from kreg.binding.step_record import record_applied
from kreg.optimizers.optimizer_row import EffectiveStep, EffectiveStepRule
from kreg.optimizers.table import effective_step_rule
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import summable
from kreg.regularizers.strength import Strengths, cast_strengths


@dataclass(frozen=True)
class Term:
    """A penalty on one variable, with its strengths at the running step."""

    penalty: Penalty
    variable: keras.Variable
    strengths: Strengths
    groups: Grouping | None


def terms_of(
    variables: Sequence[keras.Variable], applier: PenaltyApplier
) -> list[Term]:
    """The penalties on `variables`, with their strengths at this step.

    Args:
        variables: the variables that are about to be updated.
        applier: the optimizer that updates them.

    Returns:
        One term for each variable with a kreg penalty.

    Raises:
        ValueError: if a penalty was not bound when the gradient was taken, so
            that it would act twice; or if it is bound to another optimizer, so
            that it would never act.
    """
    terms = []
    for variable in variables:
        bound = getattr(variable, "regularizer", None)
        if isinstance(bound, Penalty):
            raise ValueError(
                f"The penalty {bound!r} of `{variable.path}` was not bound "
                "when the gradient was taken, so it would act twice. Call "
                "`kreg.bind(model)`, or pass a kreg callback to `fit`; in a "
                "custom loop, call `kreg.bind(model, optimizer)` before the "
                f"first step. {_state_after_error()} "
                "Received: an unbound penalty"
            )
        if isinstance(bound, BoundPenalty):
            _check_applier(bound, applier)
            record_applied(bound)
            if not bound.suspended:
                terms.append(
                    Term(
                        bound.penalty, variable, bound.strengths(), bound.groups
                    )
                )
    return terms


def _check_applier(bound: BoundPenalty, applier: PenaltyApplier) -> None:
    clock = bound.binding.running_clock()
    updating = clock.updating_binding(bound.binding)
    if updating.applier is not applier:
        raise ValueError(
            f"The penalty {bound.penalty!r} of `{bound.path}` follows another "
            "optimizer than the one that updates the weight. Call "
            "`kreg.bind(model, optimizer)` with this one; a choice of several "
            "goes inside: ProximalOptimizer(MultiOptimizer(...)). "
            f"{_state_after_error()} Received: optimizer={updating.optimizer!r}"
        )


def _state_after_error() -> str:
    if keras.backend.backend() == "jax":
        return (
            "No weight was changed, but on JAX Keras's `fit` drops the weights "
            "of a model whose step raises: make or load the model again."
        )
    return "No weight was changed."


@dataclass(frozen=True)
class PendingStep:
    """A proximal step to take after the update of the running step.

    Args:
        term: the penalty and its weight.
        optimizer: the optimizer that updates the weight.
        rule: the rule of its effective step.
        rate: the learning rate of the update.
        updates: the number of updates before this one.
        fraction: what clipping leaves of the gradient, a scalar or a tensor of
            the weight's shape; None without clipping.
        constraint: projects the weight after the step; None without one.
    """

    term: Term
    optimizer: keras.optimizers.Optimizer
    rule: EffectiveStepRule
    rate: Tensor
    updates: Tensor
    fraction: Tensor | None
    constraint: Callable[[Tensor], Tensor] | None


def pending_steps(
    terms: Sequence[Term],
    inner_optimizer: keras.optimizers.Optimizer,
    fractions: Mapping[int, Tensor],
) -> list[PendingStep]:
    """The proximal steps of `terms`, with values read before the update.

    Args:
        terms: the penalties and their weights.
        inner_optimizer: the optimizer that updates them.
        fractions: what clipping leaves of gradients, by `id` of the variable.

    Raises:
        ValueError: if the effective step of an optimizer is not known.
    """
    steps = []
    for term in terms:
        optimizer = responsible_optimizer(inner_optimizer, term.variable)
        updates = ops.convert_to_tensor(optimizer.iterations) + 0
        rate = ops.convert_to_tensor(optimizer.learning_rate) + 0.0
        rule = effective_step_rule(optimizer)
        steps.append(
            PendingStep(
                term,
                optimizer,
                rule,
                rate,
                updates,
                fractions.get(id(term.variable)),
                term.variable.constraint,
            )
        )
    return steps


@contextmanager
def constraints_put_off(steps: Sequence[PendingStep]) -> Iterator[None]:
    """Keep the inner optimizer from projecting weights before their step.

    A projection after the proximal step makes a weight at rest a minimum under
    the constraint; one before it as well would make it another point.
    """
    for step in steps:
        step.term.variable.constraint = None
    try:
        yield
    finally:
        for step in steps:
            step.term.variable.constraint = step.constraint


def take_proximal_steps(steps: Sequence[PendingStep]) -> None:
    """Take the proximal steps; called after the update."""
    if keras.backend.backend() == "tensorflow":
        from kreg.optimizers import _tensorflow

        _tensorflow.update_each(
            [step.term.variable for step in steps],
            lambda i, copy: _take_step(steps[i], copy, _tensorflow.fused),
        )
    else:
        for step in steps:
            _take_step(step, step.term.variable, lambda function, _: function())


def _take_step(step: PendingStep, variable: Any, fused: Any) -> None:
    """Take one proximal step.

    Args:
        step: the step.
        variable: the variable, or its copy on one device.
        fused: `fused(function, variables)` returns `function()`, compiled if
            that is faster; the function reads the variables alone and returns
            tensors.
    """
    targets, optimizer = [variable], step.optimizer

    def values() -> list[Tensor]:
        rate = ops.cast(step.rate, variable.dtype)
        effective = step.rule(optimizer, variable, rate)
        if step.fraction is not None:
            fraction = ops.cast(step.fraction, variable.dtype)
            effective = replace(effective, step=effective.step * fraction)
        w = ops.convert_to_tensor(variable)
        if effective.iterate is None:
            return [_after_step(step.term, w, effective)]
        targets.append(effective.iterate)
        before = ops.convert_to_tensor(effective.iterate)
        after = _after_step(step.term, before, effective)
        change = effective.iterate_coefficient * (after - before)
        # The weight moves with its iterate, and is zero if its iterate is.
        return [ops.where(after == 0, ops.zeros_like(w), w + change), after]

    new = fused(values, [variable, *(v.value for v in optimizer.variables)])
    if step.constraint is not None:
        new[0] = ops.cast(step.constraint(new[0]), variable.dtype)
    if optimizer.gradient_accumulation_steps:
        updated = optimizer.iterations > step.updates
        new = [
            ops.where(updated, value, ops.convert_to_tensor(target))
            for value, target in zip(new, targets, strict=True)
        ]
    if optimizer.use_ema:
        _correct_average(step, variable, new[0])
    for target, value in zip(targets, new, strict=True):
        optimizer.assign(target, value)


def _correct_average(step: PendingStep, variable: Any, new: Tensor) -> None:
    """Correct the moving average for the change by the proximal step.

    The inner optimizer has put the weight before the proximal step into it.
    """
    average = slot(step.optimizer, "_model_variables_moving_average", variable)
    momentum = ops.where(step.updates == 0, 0.0, step.optimizer.ema_momentum)
    change = new - ops.convert_to_tensor(variable)
    rate = ops.cast(1.0 - momentum, new.dtype)
    step.optimizer.assign(
        average, ops.convert_to_tensor(average) + rate * change
    )


def _after_step(term: Term, w: Tensor, effective: EffectiveStep) -> Tensor:
    """`w` after its proximal step, moved by at most `effective.limit`."""
    dtype = w.dtype
    w = summable(w)
    step = ops.cast(effective.step, w.dtype)
    if effective.limit is not None and term.penalty.longest_step < math.inf:
        step = ops.minimum(step, term.penalty.longest_step)
    after = term.penalty.proximal_step(
        w,
        step,
        cast_strengths(term.strengths, w.dtype),
        term.groups,
    )
    if effective.limit is not None:
        limit = ops.cast(effective.limit, w.dtype)
        after = ops.maximum(ops.minimum(after, w + limit), w - limit)
    return ops.cast(after, dtype)
