"""What gradient clipping leaves of the gradient of each weight."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kreg._keras_private import clipped_gradients, responsible_optimizer, slot
from kreg._types import Tensor
from kreg.binding.binding import member_optimizers


def clipped_fractions(
    inner_optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
) -> dict[int, Tensor]:
    """The fraction of its gradient by which each weight is updated.

    One unit of gradient moves a weight by that fraction of the effective step,
    so the proximal step takes the same fraction: then a weight at rest is a
    minimum of the loss without clipping.

    Args:
        inner_optimizer: the optimizer, or a `MultiOptimizer`.
        grads: the gradients that it is given; None for a weight without one.
        variables: the weights, one for each gradient.

    Returns:
        From the `id` of a variable to a scalar tensor (`clipnorm`,
        `global_clipnorm`) or a tensor of its shape (`clipvalue`). Weights that
        an optimizer without clipping updates are not in it.
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
    return fractions


def _is_clipped(optimizer: Any) -> bool:
    return bool(
        optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue
    )


def _mean_gradients(
    optimizer: Any, grads: Sequence[Tensor], variables: Sequence[Any]
) -> list[Tensor]:
    """The gradients that the optimizer clips: unscaled, and accumulated."""
    means = [ops.convert_to_tensor(gradient) for gradient in grads]
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
    if not (optimizer.clipnorm or optimizer.global_clipnorm):
        is_zero = ops.equal(before, 0)
        return ops.where(
            is_zero,
            ops.ones_like(before),
            after / ops.where(is_zero, 1, before),
        )
    # One factor for the whole weight, told by its entry with the largest
    # gradient.
    size, left = ops.max(ops.abs(before)), ops.max(ops.abs(after))
    is_zero = ops.equal(size, 0)
    return ops.where(
        is_zero, ops.ones_like(size), left / ops.where(is_zero, 1, size)
    )
