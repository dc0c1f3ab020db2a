"""The proximal steps that follow an optimizer's update."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from kreg._keras_private import responsible_optimizer, slot
from kreg._types import Tensor
from kreg.optimizers._clipping import updated_average
from kreg.optimizers._pending_steps import PendingStep, PendingWeight
from kreg.optimizers.optimizer_row import EffectiveStep
from kreg.regularizers.norms import larger, smaller, summable
from kreg.regularizers.strength import cast_strengths
from kreg.regularizers.tied_groups import TiedGroups


@contextmanager
def constraints_put_off(steps: Sequence[PendingStep]) -> Iterator[None]:
    """Keep the inner optimizer from projecting weights before their step.

    With a projection after the proximal step alone, a weight at rest is a
    minimum under the constraint. A second one before the step would shift it.
    """
    weights = _weights_of(steps)
    for weight in weights:
        weight.variable.constraint = None
    try:
        yield
    finally:
        for weight in weights:
            weight.variable.constraint = weight.constraint


def _weights_of(steps: Sequence[PendingStep]) -> list[PendingWeight]:
    return [weight for step in steps for weight in step.weights]


def take_proximal_steps(
    steps: Sequence[PendingStep], averages: Mapping[int, EffectiveStep]
) -> None:
    """Take the proximal steps; called after the update.

    Args:
        steps: the steps.
        averages: the average effective steps of weights whose momentum needs
            them, by the `id` of the weight.
    """

    def averaged(weight: PendingWeight) -> PendingWeight:
        average = averages.get(id(weight.variable))
        if average is not None:
            weight = replace(weight, rule=lambda *_: average)
        return _with_averaged_fraction(weight)

    steps = [
        replace(step, weights=tuple(map(averaged, step.weights)))
        for step in steps
    ]
    if keras.backend.backend() == "tensorflow":
        from kreg.optimizers import _tensorflow

        _tensorflow.update_each(
            [step.term.variables for step in steps],
            lambda i, copies: _take_step(steps[i], copies, _tensorflow.fused),
        )
    else:
        for step in steps:
            _take_step(
                step, step.term.variables, lambda function, _: function()
            )


def _with_averaged_fraction(weight: PendingWeight) -> PendingWeight:
    """The weight with the fraction that matches the optimizer's momentum."""
    if weight.fraction is None or weight.average is None:
        return weight
    if len(weight.average.shape) < len(weight.fraction.shape):
        # `clipnorm` was replaced by `clipvalue` after the build.
        return weight
    fraction = updated_average(weight.average, weight.fraction, weight.momentum)
    fraction = _if_updated(weight, weight.average, fraction)
    weight.average.assign(fraction)
    return replace(weight, fraction=fraction)


def _take_step(step: PendingStep, variables: Sequence[Any], fused: Any) -> None:
    """Take one proximal step.

    Args:
        step: the step.
        variables: the variables of the step, or their copies on one device.
        fused: `fused(function, variables)` returns `function()`, compiled if
            that is faster; the function reads no other variables and returns
            tensors.
    """
    iterates: list[keras.Variable | None] = []

    def values() -> list[Tensor]:
        effective = [
            _effective_step(weight, variable)
            for weight, variable in zip(step.weights, variables, strict=True)
        ]
        iterates[:] = [e.iterate for e in effective]
        moved = [
            ops.convert_to_tensor(v if e.iterate is None else e.iterate)
            for v, e in zip(variables, effective, strict=True)
        ]
        after = _after_step(step, moved, effective)
        new = []
        for variable, e, x, y in zip(
            variables, effective, moved, after, strict=True
        ):
            if e.iterate is not None:
                # The weight moves with its iterate, and is zero where the
                # iterate is zero.
                w = ops.convert_to_tensor(variable)
                change = e.iterate_coefficient * (y - x)
                new.append(ops.where(y == 0, ops.zeros_like(w), w + change))
            new.append(y)
        return new

    optimizers = {id(w.optimizer): w.optimizer for w in step.weights}
    slots = [v.value for o in optimizers.values() for v in o.variables]
    new = iter(fused(values, [*variables, *slots]))
    for weight, variable, iterate in zip(
        step.weights, variables, iterates, strict=True
    ):
        _assign(weight, variable, next(new))
        if iterate is not None:
            weight.optimizer.assign(
                iterate, _if_updated(weight, iterate, next(new))
            )


def _assign(weight: PendingWeight, variable: Any, new: Tensor) -> None:
    """Assign to a weight its value after the proximal step, projected.

    As in Keras, it is also projected while gradients are accumulated.
    """
    old = variable
    if weight.constraint is not None:
        new = ops.cast(weight.constraint(new), variable.dtype)
        if weight.optimizer.gradient_accumulation_steps:
            now = ops.convert_to_tensor(variable)
            old = ops.cast(weight.constraint(now), variable.dtype)
    new = _if_updated(weight, old, new)
    if weight.optimizer.use_ema:
        _correct_average(weight, variable, new)
    weight.optimizer.assign(variable, new)


def _if_updated(weight: PendingWeight, target: Any, new: Tensor) -> Tensor:
    """`new`; the value of `target` if gradients are only accumulated."""
    if not weight.optimizer.gradient_accumulation_steps:
        return new
    updated = weight.optimizer.iterations > weight.updates
    return ops.where(updated, new, ops.convert_to_tensor(target))


def _effective_step(weight: PendingWeight, variable: Any) -> EffectiveStep:
    """The effective step of a weight, reduced by clipping."""
    rate = ops.cast(weight.rate, variable.dtype)
    effective = weight.rule(weight.optimizer, variable, rate)
    if weight.fraction is None:
        return effective
    fraction = ops.cast(weight.fraction, effective.step.dtype)
    return replace(effective, step=effective.step * fraction)


def _correct_average(weight: PendingWeight, variable: Any, new: Tensor) -> None:
    """Correct the moving average for the change by the proximal step.

    The inner optimizer has averaged the weight before the proximal step. Where
    the weight is zero now, its average is set to zero and starts anew. So the
    average has the zeros of the weight, no matter who assigns it to the weight.
    """
    average = _average_of(weight.optimizer, variable)
    momentum = ops.where(
        weight.updates == 0, 0.0, weight.optimizer.ema_momentum
    )
    change = new - ops.convert_to_tensor(variable)
    rate = ops.cast(1.0 - momentum, new.dtype)
    corrected = ops.convert_to_tensor(average) + rate * change
    weight.optimizer.assign(
        average, ops.where(new == 0, ops.zeros_like(corrected), corrected)
    )


def project_averages(
    variables: Sequence[keras.Variable],
    steps: Sequence[PendingStep],
    inner_optimizer: keras.optimizers.Optimizer,
) -> None:
    """Apply constraints to the averages of weights without a proximal step.

    Keras averages these weights before it applies the constraint. So without
    this, zeros that a constraint keeps would not be zeros in the average.

    Args:
        variables: the variables that were updated.
        steps: the proximal steps; the averages of their weights are skipped.
        inner_optimizer: the optimizer that has updated the variables.
    """
    stepped = {id(weight.variable) for weight in _weights_of(steps)}
    constraints, averages = [], []
    for variable in variables:
        if variable.constraint is None or id(variable) in stepped:
            continue
        optimizer = responsible_optimizer(inner_optimizer, variable)
        if optimizer.use_ema:
            constraints.append(variable.constraint)
            averages.append(_average_of(optimizer, variable))

    def project(i: int, copies: Sequence[Any]) -> None:
        projected = constraints[i](ops.convert_to_tensor(copies[0]))
        copies[0].assign(ops.cast(projected, copies[0].dtype))

    if keras.backend.backend() == "tensorflow":
        from kreg.optimizers import _tensorflow

        _tensorflow.update_each([[average] for average in averages], project)
    else:
        for i, average in enumerate(averages):
            project(i, [average])


def _average_of(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> keras.Variable:
    return slot(optimizer, "_model_variables_moving_average", variable)


def _after_step(
    step: PendingStep,
    tensors: Sequence[Tensor],
    effective: Sequence[EffectiveStep],
) -> list[Tensor]:
    """Tensors after their proximal step, each moved by at most its limit.

    If the weight before the update is known, the limit is at least twice the
    length of the update.
    """
    w = [summable(x) for x in tensors]
    t = [
        ops.cast(of_weight.step, entries.dtype)
        for of_weight, entries in zip(effective, w, strict=True)
    ]
    updates = [
        None if weight.before is None else entries - summable(weight.before)
        for weight, entries in zip(step.weights, w, strict=True)
    ]
    if step.term.penalty.longest_step < math.inf:
        w, t = _shortened(step, w, t)
    # A penalty grows with the absolute value of each entry. So the minimum over
    # non-negative weights has 0 in place of negative entries, and these must
    # not count in the norm of their group.
    w = [
        ops.relu(entries) if _is_non_negative(weight.constraint) else entries
        for weight, entries in zip(step.weights, w, strict=True)
    ]
    after = []
    for new, old, update, x, of_weight in zip(
        _stepped(step, w, t), w, updates, tensors, effective, strict=True
    ):
        if of_weight.limit is not None:
            limit = ops.cast(of_weight.limit, old.dtype)
            if update is not None:
                # If a batch repeats a row of a sparse gradient n times, the
                # second moment is a sum of n squares, not the square of the
                # sum. So an update may be sqrt(n) times longer than a learning
                # rate, and the step must be able to undo it.
                limit = larger(limit, 2.0 * ops.abs(update))
            new = larger(smaller(new, old + limit), old - limit)
        after.append(ops.cast(new, x.dtype))
    return after


def _stepped(
    step: PendingStep, w: Sequence[Tensor], t: Sequence[Tensor]
) -> list[Tensor]:
    """Entries of weights after the proximal step of their penalty.

    Args:
        step: the pending step.
        w: the entries of each weight.
        t: the effective step of each weight, a scalar or one for each entry.
    """
    penalty, groups = step.term.penalty, step.term.groups
    if isinstance(groups, TiedGroups):
        lengths = t[0] if _have_one_step(step.weights, t) else t
        return groups.proximal_step(penalty, w, lengths, step.term.strengths)
    strengths = cast_strengths(step.term.strengths, w[0].dtype)
    return [penalty.proximal_step(w[0], t[0], strengths, groups)]


def _have_one_step(
    weights: Sequence[PendingWeight], t: Sequence[Tensor]
) -> bool:
    """Whether all entries of several weights have the same effective step."""
    return (
        all(len(length.shape) == 0 for length in t)
        and all(weight.fraction is None for weight in weights)
        and len({id(weight.optimizer) for weight in weights}) == 1
    )


def _is_non_negative(constraint: Any) -> bool:
    """Whether a constraint is `NonNeg`; a subclass may be something else."""
    non_negative = keras.constraints.NonNeg
    return isinstance(constraint, non_negative) and (
        type(constraint).__call__ is non_negative.__call__
    )


# Becomes 0 wherever a penalty acts on entries near 0.
_TINY = 1e-30


def _shortened(
    step: PendingStep, w: Sequence[Tensor], t: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The updates and the steps of a penalty that is not convex, shortened.

    Where the penalty is concave, a proximal step of length t spreads weights by
    a factor of up to `1 / (1 - t * r)` with `r = penalty.weak_convexity`. With
    momentum m this oscillates ever wider unless `m < 1 - t * r`. To see this,
    linearize the recursion of weight and velocity about a strict minimum. Its
    characteristic equation is `q * z**2 - (q * m + 1 - e) * z + m = 0`, with q
    between `1 - t * r` and 1, and e the curvature of the data loss in units of
    the learning rate. The product of its roots is `m / q`. Half of the bound,
    `t = (1 - m) / (2 * r)`, leaves a margin. The update is shortened in the
    same proportion, so that weights at rest stay the same. Entries on which the
    penalty does not act keep their update: all while the strength is 0, and
    those with a factor of 0.

    Args:
        step: the pending step.
        w: the weights after the update.
        t: the effective step of each.

    Returns:
        The weights after the shorter updates, and the shorter steps.
    """
    longest_step = step.term.penalty.longest_step
    longest = [
        ops.convert_to_tensor(
            0.5 * (1.0 - weight.momentum) * longest_step, entries.dtype
        )
        for weight, entries in zip(step.weights, w, strict=True)
    ]
    short = [smaller(a, b) for a, b in zip(t, longest, strict=True)]
    shortened = []
    for weight, new, length, limit, acts in zip(
        step.weights,
        w,
        t,
        longest,
        _acts_near_zero(step, w, short),
        strict=True,
    ):
        old = summable(weight.before)
        is_long = (length > limit) & acts
        fraction = limit / ops.where(is_long, length, limit)
        shortened.append(ops.where(is_long, old + fraction * (new - old), new))
    return shortened, short


def _acts_near_zero(
    step: PendingStep, w: Sequence[Tensor], t: Sequence[Tensor]
) -> list[Tensor]:
    """Whether the penalty would move each entry of the weights if it were tiny.

    Args:
        step: the pending step.
        w: tensors of the weights' shapes.
        t: the effective step of each weight.
    """
    tiny = [ops.full_like(x, _TINY) for x in w]
    return [
        after != x
        for after, x in zip(_stepped(step, tiny, t), tiny, strict=True)
    ]
