"""The effective steps of Keras's optimizers.

Each is `lim n -> infinity` of the distance that `n` updates with a constant
gradient of 1 move a weight, divided by `n`, given what the optimizer remembers
now. Then a weight at rest under updates and proximal steps is a minimum of the
data loss plus the penalty.
"""

import math
from typing import Any

import keras
from keras import ops

from kreg._keras_private import slot
from kreg._types import Tensor
from kreg.optimizers.effective_step import (
    EffectiveStep,
    register_effective_step,
)

# How far a proximal step may go, in learning rates. At rest it must be able to
# undo an update, which is at most about one learning rate.
_REACH = 2.0
_SAMPLE = 4096


def _read(optimizer: Any, name: str, variable: Any) -> Tensor:
    return ops.convert_to_tensor(slot(optimizer, name, variable))


def _gradients(optimizer: Any, name: str, variable: Any) -> Tensor:
    """What an optimizer remembers of the size of past gradients.

    Where there never was one it is taken to be the mean over the weight, or 1
    if there was none at all. With 0 the effective step would be huge, and wipe
    what no batch has shown yet, such as the rows of rare words.
    """
    size = _read(optimizer, name, variable)
    # Of a sample, as reading all would cost another pass; with a stride that
    # walks through all columns of a matrix.
    stride = max(1, math.prod(size.shape) // _SAMPLE)
    while size.shape and math.gcd(stride, size.shape[-1]) > 1:
        stride += 1
    mean = ops.mean(ops.reshape(size, (-1,))[::stride])
    typical = ops.where(mean > 0, mean, ops.ones_like(mean))
    return ops.where(size > 0, size, typical)


def _correction(optimizer: Any, beta: float, dtype: Any) -> Tensor:
    """`1 - beta ** k`, where k counts the updates with the last one."""
    k = ops.cast(optimizer.iterations, dtype)
    return 1.0 - ops.power(ops.cast(beta, dtype), k)


@register_effective_step(keras.optimizers.SGD)
def _sgd(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    return EffectiveStep(rate / (1.0 - optimizer.momentum))


@register_effective_step(keras.optimizers.Adam)
def _adam(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    name = "_velocity_hats" if optimizer.amsgrad else "_velocities"
    v = _gradients(optimizer, name, variable)
    first = _correction(optimizer, optimizer.beta_1, v.dtype)
    second = _correction(optimizer, optimizer.beta_2, v.dtype)
    corrected = rate * ops.sqrt(second) / first
    divisor = ops.sqrt(v) + optimizer.epsilon
    return EffectiveStep(corrected / divisor, _REACH * rate)


@register_effective_step(keras.optimizers.Nadam)
def _nadam(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradients(optimizer, "_velocities", variable)
    second = _correction(optimizer, optimizer.beta_2, v.dtype)
    divisor = ops.sqrt(v / second) + optimizer.epsilon
    return EffectiveStep(rate / divisor, _REACH * rate)


@register_effective_step(keras.optimizers.Adamax)
def _adamax(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    u = _gradients(optimizer, "_u", variable)
    first = _correction(optimizer, optimizer.beta_1, u.dtype)
    divisor = first * (u + optimizer.epsilon)
    return EffectiveStep(rate / divisor, _REACH * rate)


@register_effective_step(keras.optimizers.RMSprop)
def _rmsprop(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradients(optimizer, "_velocities", variable)
    rate = rate / (1.0 - optimizer.momentum)
    if not optimizer.centered:
        divisor = ops.sqrt(v + optimizer.epsilon)
        return EffectiveStep(rate / divisor, _REACH * rate)
    mean = _read(optimizer, "_average_gradients", variable)
    # A variance in the divisor sets no bound on how far an update goes. At
    # rest it is a difference of rounding size, which compilers round in ways
    # of their own: an epsilon well above it makes the step sure.
    divisor = ops.sqrt(v - ops.square(mean) + optimizer.epsilon)
    return EffectiveStep(rate / divisor)


@register_effective_step(keras.optimizers.Adagrad)
def _adagrad(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradients(optimizer, "_accumulators", variable)
    divisor = ops.sqrt(v + optimizer.epsilon)
    return EffectiveStep(rate / divisor, _REACH * rate)


@register_effective_step(keras.optimizers.Adadelta)
def _adadelta(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradients(optimizer, "_accumulated_grads", variable)
    deltas = _read(optimizer, "_accumulated_delta_vars", variable)
    reach = rate * ops.sqrt(deltas + optimizer.epsilon)
    divisor = ops.sqrt(v + optimizer.epsilon)
    return EffectiveStep(reach / divisor)


def _schedule_free_adamw(
    optimizer: Any, variable: Any, rate: Tensor
) -> EffectiveStep:
    """The step of the iterate `z` that the weight is averaged from.

    The weight is `(1 - beta_1) * z + beta_1 * x`, and the last update put
    `1 / k` of z into the average x. Where z is zero the average starts anew.
    """
    v = _gradients(optimizer, "_velocities", variable)
    k = ops.cast(optimizer.iterations, v.dtype)
    if optimizer.warmup_steps:
        rate = rate * ops.minimum(k / optimizer.warmup_steps, 1.0)
    second = _correction(optimizer, optimizer.beta_2, v.dtype)
    divisor = ops.sqrt(v / second) + optimizer.epsilon
    return EffectiveStep(
        rate / divisor,
        _REACH * rate,
        iterate=slot(optimizer, "_momentums", variable),
        share=1.0 - optimizer.beta_1 + optimizer.beta_1 / k,
    )


# On the other backends Keras 3.15 reads the old iterate after it has changed,
# so that the weights are not those of the paper and hardly move.
if keras.backend.backend() == "jax":
    register_effective_step(keras.optimizers.ScheduleFreeAdamW)(
        _schedule_free_adamw
    )
