"""Optimizers that apply penalties by themselves."""

import keras


class PenaltyApplier:
    """Marks an optimizer that applies penalties after its update.

    A bound penalty lets no gradient through under such an optimizer.
    """

    inner_optimizer: keras.optimizers.Optimizer


def penalty_applier(
    optimizer: keras.optimizers.Optimizer | None,
) -> PenaltyApplier | None:
    """`optimizer`, or what it scales the loss for, if it applies penalties."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer if isinstance(optimizer, PenaltyApplier) else None


def innermost_optimizer(
    optimizer: keras.optimizers.Optimizer | None,
) -> keras.optimizers.Optimizer | None:
    """What computes the updates, without all that is wrapped around it."""
    while isinstance(
        optimizer, (keras.optimizers.LossScaleOptimizer, PenaltyApplier)
    ):
        optimizer = optimizer.inner_optimizer
    return optimizer
