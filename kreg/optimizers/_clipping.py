"""The fraction of each weight's gradient that clipping leaves."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kreg._keras_private import (
    built_variables,
    clipped_gradients,
    responsible_optimizer,
    slot,
)
from kreg._types import Tensor
from kreg.binding.binding import member_optimizers
from kreg.optimizers.table import momentum_of
from kreg.regularizers.norms import summable_dtype


def clipped_fractions(
    inner_optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
) -> dict[int, Tensor]:
    """The fraction of each weight's gradient that clipping leaves.

    One unit of gradient moves a weight by that fraction of the effective step,
    so the proximal step takes the same fraction. If all batches are clipped
    alike, a weight at rest is then a minimum of the loss without clipping. If
    batch b is clipped to the fraction `c_b`, a weight at rest solves
    `sum over b of c_b * (gradient of batch b + gradient of the penalty) = 0`:
    clipping weights the batches by their fractions, and the penalty with them.

    Args:
        inner_optimizer: the optimizer, or a `MultiOptimizer`.
        grads: the gradients passed to it; None for a weight without one.
        variables: the weights, one for each gradient.

    Returns:
        The fraction for each weight, by the variable's `id`: a scalar tensor
        (`clipnorm`, `global_clipnorm`) or a tensor of its shape (`clipvalue`).
        Weights whose optimizer does not clip are left out. Devices that share a
        batch each clip their part of it; the fraction is their mean.
    """
    if not any(map(_is_clipped, member_optimizers(inner_optimizer))):
        return {}
    members: dict[int, tuple[Any, list[keras.Variable], list[Tensor]]] = {}
    for gradient, variable in zip(grads, variables, strict=True):
        optimizer = responsible_optimizer(inner_optimizer, variable)
        if gradient is not None and _is_clipped(optimizer):
            member = members.setdefault(id(optimizer), (optimizer, [], []))
            member[1].append(variable)
            member[2].append(gradient)
    fractions: dict[int, Tensor] = {}
    for optimizer, own_variables, own_grads in members.values():
        means = _mean_gradients(optimizer, own_grads, own_variables)
        clipped = clipped_gradients(optimizer, means)
        for variable, before, after in zip(
            own_variables, means, clipped, strict=True
        ):
            fractions[id(variable)] = _fraction(optimizer, before, after)
    if keras.backend.backend() != "tensorflow":
        return fractions
    from kreg.optimizers import _tensorflow

    means = _tensorflow.means_over_devices(list(fractions.values()))
    return dict(zip(fractions, means, strict=True))


def fraction_averages(
    wrapper: keras.optimizers.Optimizer,
    inner_optimizer: keras.optimizers.Optimizer,
) -> list[keras.Variable | None]:
    """Variables for the averages of clipped fractions over past updates.

    With momentum an update averages past gradients, each clipped by the
    fraction of its own batch. The proximal step balances the update only if it
    uses the same average of fractions. With the last fraction alone, it would
    free zero weights whenever the last batch is clipped more than those before.

    Args:
        wrapper: the optimizer that owns the new variables.
        inner_optimizer: the optimizer that clips, or a `MultiOptimizer`.

    Returns:
        A variable for each weight of the optimizer; None where the weight's
        optimizer does not clip gradients or has no momentum.
    """
    averages: list[keras.Variable | None] = []
    for variable in built_variables(inner_optimizer):
        optimizer = responsible_optimizer(inner_optimizer, variable)
        if not _is_clipped(optimizer) or not momentum_of(optimizer):
            averages.append(None)
            continue
        averages.append(
            wrapper.add_variable(
                shape=() if _clips_norms(optimizer) else variable.shape,
                dtype=summable_dtype(variable),
                aggregation="mean",
                name=f"{variable.name}_clipped_fraction",
            )
        )
    return averages


def updated_average(
    average: keras.Variable, fraction: Tensor, momentum: float
) -> Tensor:
    """The average of clipped fractions, or of steps, updated with one more.

    Args:
        average: the previous average; 0 before the first update.
        fraction: the fraction, or the step, of the update.
        momentum: the decay of the optimizer's own average.
    """
    before = ops.convert_to_tensor(average)
    fraction = ops.cast(fraction, before.dtype)
    new = momentum * before + (1.0 - momentum) * fraction
    return ops.where(ops.equal(before, 0), fraction, new)


def _clips_norms(optimizer: Any) -> bool:
    return bool(optimizer.clipnorm or optimizer.global_clipnorm)


def _is_clipped(optimizer: Any) -> bool:
    return _clips_norms(optimizer) or bool(optimizer.clipvalue)


def _mean_gradients(
    optimizer: Any, grads: Sequence[Tensor], variables: Sequence[Any]
) -> list[Tensor]:
    """The gradients that the optimizer clips: unscaled, and accumulated."""
    means = list(grads)
    if optimizer.loss_scale_factor is not None:
        means = [gradient / optimizer.loss_scale_factor for gradient in means]
    steps = optimizer.gradient_accumulation_steps
    if steps:
        accumulated = [
            ops.convert_to_tensor(slot(optimizer, "_accumulated_gradients", v))
            for v in variables
        ]
        pairs = zip(means, accumulated, strict=True)
        means = [(gradient + before) / steps for gradient, before in pairs]
    return means


def _fraction(optimizer: Any, before: Tensor, after: Tensor) -> Tensor:
    """`after / before`; 1 where there is no gradient to clip."""
    before, after = ops.convert_to_tensor(before), ops.convert_to_tensor(after)
    if _clips_norms(optimizer):
        # The whole weight has one factor; the entry with the largest gradient
        # shows it most precisely.
        before, after = ops.max(ops.abs(before)), ops.max(ops.abs(after))
    is_zero = ops.equal(before, 0)
    return ops.where(
        is_zero, ops.ones_like(before), after / ops.where(is_zero, 1, before)
    )
