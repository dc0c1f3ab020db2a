"""The proximal steps that follow an optimizer's update."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from kreg._keras_private import responsible_optimizer, slot
from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import PenaltyApplier, penalty_applier
from kreg.binding.step_record import record_applied
from kreg.optimizers._clipping import updated_average
from kreg.optimizers.optimizer_row import EffectiveStep, EffectiveStepRule
from kreg.optimizers.table import (
    effective_step_rule,
    momentum_of,
    refuse_changed_gradients,
)
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import larger, smaller, summable
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
    optimizer = bound.clock().optimizer_of(bound)
    if penalty_applier(optimizer) is not applier:
        raise ValueError(
            f"The penalty {bound.penalty!r} of `{bound.path}` follows another "
            "optimizer than the one that updates the weight. Call "
            "`kreg.bind(model, optimizer)` with this one, or, for the parts of "
            "a model, `kreg.bind(model, {model.part: optimizer, ...})`; a "
            "choice of several goes inside: "
            "ProximalOptimizer(MultiOptimizer(...)). "
            f"{_state_after_error()} Received: optimizer={optimizer!r}"
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
        momentum: the part of an update that is left of the one before.
        rate: the learning rate of the update.
        updates: the number of updates before this one.
        before: the weight before the update, if its penalty is not convex or
            its gradient is sparse; else None.
        fraction: what clipping leaves of the gradient, a scalar or a tensor of
            the weight's shape; None without clipping.
        average: the average of that fraction over past updates; None without
            clipping or momentum.
        constraint: projects the weight after the step; None without one.
    """

    term: Term
    optimizer: keras.optimizers.Optimizer
    rule: EffectiveStepRule
    momentum: float
    rate: Tensor
    updates: Tensor
    before: Tensor | None
    fraction: Tensor | None
    average: keras.Variable | None
    constraint: Callable[[Tensor], Tensor] | None


def pending_steps(
    terms: Sequence[Term],
    inner_optimizer: keras.optimizers.Optimizer,
    fractions: Mapping[int, Tensor],
    averages: Mapping[int, keras.Variable | None],
    sparse: Collection[int] = (),
) -> list[PendingStep]:
    """The proximal steps of `terms`, with values read before the update.

    Args:
        terms: the penalties and their weights.
        inner_optimizer: the optimizer that updates them.
        fractions: what clipping leaves of gradients, by `id` of the variable.
        averages: the averages of fractions, by `id` of the variable.
        sparse: the `id` of each variable whose gradient is sparse.

    Raises:
        ValueError: if the effective step of an optimizer is not known, or its
            momentum and a penalty is not convex.
    """
    steps = []
    for term in terms:
        if _never_acts(term.penalty):
            continue
        key = id(term.variable)
        optimizer = responsible_optimizer(inner_optimizer, term.variable)
        rule = effective_step_rule(optimizer)
        refuse_changed_gradients(optimizer)
        momentum = momentum_of(optimizer)
        is_convex = term.penalty.longest_step == math.inf
        if momentum is None and not is_convex:
            raise _unknown_momentum(term, optimizer)
        steps.append(
            PendingStep(
                term,
                optimizer,
                rule,
                momentum or 0.0,
                rate=ops.convert_to_tensor(optimizer.learning_rate) + 0.0,
                updates=ops.convert_to_tensor(optimizer.iterations) + 0,
                before=None
                if is_convex and key not in sparse
                else _value(term.variable),
                fraction=fractions.get(key),
                average=averages.get(key),
                constraint=term.variable.constraint,
            )
        )
    return steps


def _value(variable: keras.Variable) -> Tensor:
    """The present value, which stays as it is when the variable changes."""
    return ops.convert_to_tensor(variable) + 0.0


def _never_acts(penalty: Penalty) -> bool:
    """Whether every strength is the number 0, whatever the multiplier."""
    strengths = [getattr(penalty, name) for name in penalty.strength_names()]
    return all(isinstance(s, float) and s == 0.0 for s in strengths)


def _unknown_momentum(
    term: Term, optimizer: keras.optimizers.Optimizer
) -> ValueError:
    cls = type(optimizer).__name__
    return ValueError(
        f"The penalty {term.penalty!r} of `{term.variable.path}` is not "
        "convex, so the step must be the shorter the larger the optimizer's "
        f"momentum, and that of {cls} is not known. Use SGD, Adam or a convex "
        "penalty such as `kreg.L1`; for an optimizer of your own pass "
        f"`momentum` to `kreg.optimizers.register_optimizer({cls})`. "
        f"{_state_after_error()} "
        f"Received: inner_optimizer={optimizer!r} (of type {cls})"
    )


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
    steps = [_with_averaged_fraction(step) for step in steps]
    if keras.backend.backend() == "tensorflow":
        from kreg.optimizers import _tensorflow

        _tensorflow.update_each(
            [step.term.variable for step in steps],
            lambda i, copy: _take_step(steps[i], copy, _tensorflow.fused),
        )
    else:
        for step in steps:
            _take_step(step, step.term.variable, lambda function, _: function())


def _with_averaged_fraction(step: PendingStep) -> PendingStep:
    """The step with the fraction that matches the optimizer's momentum."""
    if step.fraction is None or step.average is None:
        return step
    if len(step.average.shape) < len(step.fraction.shape):
        # `clipvalue` has taken the place of `clipnorm` since the build.
        return step
    fraction = updated_average(
        step.average, step.fraction, step.momentum, step.updates
    )
    if step.optimizer.gradient_accumulation_steps:
        fraction = ops.where(
            step.optimizer.iterations > step.updates,
            fraction,
            ops.convert_to_tensor(step.average),
        )
    step.average.assign(fraction)
    return replace(step, fraction=fraction)


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
            return [_after_step(step, w, effective)]
        targets.append(effective.iterate)
        iterate = ops.convert_to_tensor(effective.iterate)
        after = _after_step(step, iterate, effective)
        change = effective.iterate_coefficient * (after - iterate)
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
    Where the weight is zero now, its average is made zero: it starts anew. So
    the average has the zeros of the weight, whoever puts it in its place.
    """
    average = _average_of(step.optimizer, variable)
    momentum = ops.where(step.updates == 0, 0.0, step.optimizer.ema_momentum)
    change = new - ops.convert_to_tensor(variable)
    rate = ops.cast(1.0 - momentum, new.dtype)
    corrected = ops.convert_to_tensor(average) + rate * change
    step.optimizer.assign(
        average, ops.where(new == 0, ops.zeros_like(corrected), corrected)
    )


def project_averages(
    variables: Sequence[keras.Variable],
    steps: Sequence[PendingStep],
    inner_optimizer: keras.optimizers.Optimizer,
) -> None:
    """Apply the constraints of weights without a step to their averages.

    Keras averages these weights before it applies the constraint, so that a
    zero that a constraint keeps would not be one in the average.

    Args:
        variables: the variables that were updated.
        steps: the proximal steps, which see to the averages of their weights.
        inner_optimizer: the optimizer that has updated them.
    """
    stepped = {id(step.term.variable) for step in steps}
    constraints, averages = [], []
    for variable in variables:
        if variable.constraint is None or id(variable) in stepped:
            continue
        optimizer = responsible_optimizer(inner_optimizer, variable)
        if optimizer.use_ema:
            constraints.append(variable.constraint)
            averages.append(_average_of(optimizer, variable))

    def project(i: int, copy: Any) -> None:
        projected = constraints[i](ops.convert_to_tensor(copy))
        copy.assign(ops.cast(projected, copy.dtype))

    if keras.backend.backend() == "tensorflow":
        from kreg.optimizers import _tensorflow

        _tensorflow.update_each(averages, project)
    else:
        for i, average in enumerate(averages):
            project(i, average)


def _average_of(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> keras.Variable:
    return slot(optimizer, "_model_variables_moving_average", variable)


def _after_step(
    step: PendingStep, w: Tensor, effective: EffectiveStep
) -> Tensor:
    """`w` after its proximal step, moved by at most `effective.limit`.

    Where the update before is known, twice its length is allowed too.
    """
    dtype, penalty, groups = w.dtype, step.term.penalty, step.term.groups
    w = summable(w)
    t = ops.cast(effective.step, w.dtype)
    update = None if step.before is None else w - summable(step.before)
    if update is not None and penalty.longest_step < math.inf:
        w, t = _shortened(step, w, t)
    if _is_non_negative(step.constraint):
        # A penalty depends on the sizes of entries and grows with each. So the
        # nearest non-negative weight has 0 in the place of negative entries,
        # which must not count in the norm of their group either.
        w = ops.relu(w)
    strengths = cast_strengths(step.term.strengths, w.dtype)
    after = penalty.proximal_step(w, t, strengths, groups)
    if effective.limit is not None:
        limit = ops.cast(effective.limit, w.dtype)
        if update is not None:
            # Second moments of a sparse gradient are sums of squares over the
            # times that a batch repeats a row, not squares of their sum. So an
            # update may be longer than a learning rate by the root of these
            # times, and the step must be able to undo it.
            limit = larger(limit, 2.0 * ops.abs(update))
        after = larger(smaller(after, w + limit), w - limit)
    return ops.cast(after, dtype)


def _is_non_negative(constraint: Any) -> bool:
    """Whether a constraint is `NonNeg`; a subclass may be something else."""
    non_negative = keras.constraints.NonNeg
    return isinstance(constraint, non_negative) and (
        type(constraint).__call__ is non_negative.__call__
    )


def _shortened(
    step: PendingStep, w: Tensor, t: Tensor
) -> tuple[Tensor, Tensor]:
    """The update and the step of a penalty that is not convex, shortened.

    A proximal step of length t spreads weights where the penalty is concave, by
    up to `1 / (1 - t * r)` with `r = penalty.weak_convexity`. Momentum m brings
    a spread back, and the two swing ever wider unless `m < 1 - t * r`: the
    linear recursion of weight and velocity about a strict minimum has the
    characteristic equation `q * z**2 - (q * m + 1 - e) * z + m = 0`, with q
    between `1 - t * r` and 1 and e the curvature of the data loss in units of
    the learning rate, and the product of its roots is `m / q`. Half of that
    bound, `t = (1 - m) / (2 * r)`, leaves room. The update is shortened in the
    same proportion, so that the weights at rest stay the same.

    Args:
        step: the pending step.
        w: the weight after the update.
        t: its effective step.

    Returns:
        The weight after the shorter update, and the shorter step.
    """
    longest = ops.convert_to_tensor(
        0.5 * (1.0 - step.momentum) * step.term.penalty.longest_step, w.dtype
    )
    is_long = t > longest
    share = longest / ops.where(is_long, t, longest)
    before = summable(step.before)
    shorter = ops.where(is_long, before + share * (w - before), w)
    return shorter, smaller(t, longest)
