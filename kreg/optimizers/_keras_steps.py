"""The effective steps of Keras's optimizers.

Each is `lim n -> infinity` of the distance that `n` updates with a constant
gradient of 1 move a weight, divided by `n`, given what the optimizer remembers
now. Then a weight at rest under updates and proximal steps is a minimum of the
data loss plus the penalty.
"""

from typing import Any

import keras
from keras import ops

from kreg._keras_private import slot
from kreg._types import Tensor
from kreg.optimizers._effective_step import (
    EffectiveStep,
    register_effective_step,
)

# How far a proximal step may go, in learning rates. At rest it must be able to
# undo an update, which is at most about one learning rate.
_REACH = 2.0


def _updates(optimizer: Any, variable: Any) -> Tensor:
    """The number of updates, with the last one."""
    return ops.cast(optimizer.iterations, variable.dtype)


def _adaptive(
    rate: Tensor, divisor: Tensor, seen: Tensor, limit: Tensor | None
) -> EffectiveStep:
    """A step that is divided by the size of past gradients.

    Args:
        rate: the learning rate.
        divisor: tensor of the weight's shape, what it is divided by.
        seen: tensor of the same shape, 0 where there never was a gradient:
            there the step is the learning rate alone.
        limit: the farthest that a proximal step may go.
    """
    return EffectiveStep(ops.where(seen > 0, rate / divisor, rate), limit)


@register_effective_step(keras.optimizers.SGD)
def _sgd(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    return EffectiveStep(rate / (1.0 - optimizer.momentum))


@register_effective_step(keras.optimizers.Adam)
def _adam(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    k = _updates(optimizer, variable)
    name = "_velocity_hats" if optimizer.amsgrad else "_velocities"
    v = ops.convert_to_tensor(slot(optimizer, name, variable))
    corrected = (
        rate
        * ops.sqrt(1.0 - ops.power(optimizer.beta_2, k))
        / (1.0 - ops.power(optimizer.beta_1, k))
    )
    divisor = ops.sqrt(v) + optimizer.epsilon
    step = ops.where(v > 0, corrected / divisor, rate)
    return EffectiveStep(step, _REACH * rate)


@register_effective_step(keras.optimizers.Nadam)
def _nadam(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    k = _updates(optimizer, variable)
    v = ops.convert_to_tensor(slot(optimizer, "_velocities", variable))
    v_hat = v / (1.0 - ops.power(optimizer.beta_2, k))
    divisor = ops.sqrt(v_hat) + optimizer.epsilon
    return _adaptive(rate, divisor, v, _REACH * rate)


@register_effective_step(keras.optimizers.Adamax)
def _adamax(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    k = _updates(optimizer, variable)
    u = ops.convert_to_tensor(slot(optimizer, "_u", variable))
    divisor = (1.0 - ops.power(optimizer.beta_1, k)) * (u + optimizer.epsilon)
    return _adaptive(rate, divisor, u, _REACH * rate)


@register_effective_step(keras.optimizers.RMSprop)
def _rmsprop(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = ops.convert_to_tensor(slot(optimizer, "_velocities", variable))
    rate = rate / (1.0 - optimizer.momentum)
    if not optimizer.centered:
        divisor = ops.sqrt(v + optimizer.epsilon)
        return _adaptive(rate, divisor, v, _REACH * rate)
    mean = ops.convert_to_tensor(
        slot(optimizer, "_average_gradients", variable)
    )
    # A variance in the divisor sets no bound on how far an update goes.
    divisor = ops.sqrt(v - ops.square(mean) + optimizer.epsilon)
    return _adaptive(rate, divisor, v, None)


@register_effective_step(keras.optimizers.Adagrad)
def _adagrad(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = ops.convert_to_tensor(slot(optimizer, "_accumulators", variable))
    divisor = ops.sqrt(v + optimizer.epsilon)
    return _adaptive(rate, divisor, v, _REACH * rate)


@register_effective_step(keras.optimizers.Adadelta)
def _adadelta(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = ops.convert_to_tensor(slot(optimizer, "_accumulated_grads", variable))
    deltas = ops.convert_to_tensor(
        slot(optimizer, "_accumulated_delta_vars", variable)
    )
    reach = rate * ops.sqrt(deltas + optimizer.epsilon)
    divisor = ops.sqrt(v + optimizer.epsilon)
    return EffectiveStep(ops.where(v > 0, reach / divisor, reach), None)
