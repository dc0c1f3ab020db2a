"""The rows of Keras's optimizers: effective steps and gradient memories.

An effective step is the mean distance by which an update with a constant
gradient of 1 moves a weight in the long run, given the optimizer's present
second moments. With this step, a weight at rest under updates and proximal
steps is at a minimum of the data loss plus the penalty.
"""

import math
from typing import Any

import keras
from keras import ops

from kreg._keras_private import slot
from kreg._types import Tensor
from kreg.optimizers.optimizer_row import (
    EffectiveStep,
    GradientMemory,
    OptimizerRow,
)
from kreg.regularizers.norms import larger

# The limit of a proximal step, in longest updates. A proximal step must be able
# to undo an update.
_LIMIT = 2.0
_SAMPLE_SIZE = 4096


def _slot_tensor(optimizer: Any, name: str, variable: Any) -> Tensor:
    return ops.convert_to_tensor(slot(optimizer, name, variable))


def _gradient_sizes(optimizer: Any, name: str, variable: Any) -> Tensor:
    """The size of past gradients that an optimizer keeps, made positive.

    An entry without any gradient so far gets the mean size over the weight, or
    1 if no entry had a gradient. With a size of 0 its effective step would be
    huge. The proximal step would then zero entries that no batch has reached
    yet, such as the embeddings of rare words.
    """
    size = _slot_tensor(optimizer, name, variable)
    # Take the mean of a sample, because that of all entries would cost another
    # pass. The stride is coprime to the number of columns, so that the sample
    # visits every column.
    stride = max(1, math.prod(size.shape) // _SAMPLE_SIZE)
    columns = math.prod(size.shape[-1:])  # 1 for a scalar
    while math.gcd(stride, columns) > 1:
        stride += 1
    mean = ops.mean(ops.reshape(size, (-1,))[::stride])
    typical = ops.where(mean > 0, mean, ops.ones_like(mean))
    return ops.where(size > 0, size, typical)


def _bias_correction(optimizer: Any, beta: float, dtype: Any) -> Tensor:
    """`1 - beta ** k` after k updates, Adam's bias correction."""
    k = ops.cast(optimizer.iterations, dtype)
    return 1.0 - ops.power(ops.cast(beta, dtype), k)


def _sgd(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    return EffectiveStep(rate / (1.0 - optimizer.momentum))


def _adam(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    name = "_velocity_hats" if optimizer.amsgrad else "_velocities"
    v = _gradient_sizes(optimizer, name, variable)
    first = _bias_correction(optimizer, optimizer.beta_1, v.dtype)
    second = _bias_correction(optimizer, optimizer.beta_2, v.dtype)
    corrected = rate * ops.sqrt(second) / first
    step = corrected / (ops.sqrt(v) + optimizer.epsilon)
    m = _slot_tensor(optimizer, "_momentums", variable)
    return EffectiveStep(step, _limit(rate, step * m))


def _limit(rate: Tensor, update: Tensor) -> Tensor:
    """The limit of a proximal step of an optimizer with two moments.

    An update is mostly not longer than the learning rate. But when gradients
    grow, as when the strength of a penalty does, the second moment lags behind
    the first one, and updates get many times longer.
    """
    return _LIMIT * larger(rate, ops.abs(update))


def _nadam(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradient_sizes(optimizer, "_velocities", variable)
    second = _bias_correction(optimizer, optimizer.beta_2, v.dtype)
    step = rate / (ops.sqrt(v / second) + optimizer.epsilon)
    # An update adds the newest gradient to the first moment once more, which
    # at most doubles it while gradients keep their sign.
    first = _bias_correction(optimizer, optimizer.beta_1, v.dtype)
    m = 2.0 * _slot_tensor(optimizer, "_momentums", variable) / first
    return EffectiveStep(step, _limit(rate, step * m))


def _adamax(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    u = _gradient_sizes(optimizer, "_u", variable)
    first = _bias_correction(optimizer, optimizer.beta_1, u.dtype)
    divisor = first * (u + optimizer.epsilon)
    return EffectiveStep(rate / divisor, _LIMIT * rate)


def _rmsprop(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradient_sizes(optimizer, "_velocities", variable)
    rate = rate / (1.0 - optimizer.momentum)
    if not optimizer.centered:
        divisor = ops.sqrt(v + optimizer.epsilon)
        # The second moment is at least `1 - rho` times the newest squared
        # gradient, which limits the length of an update.
        longest = rate / math.sqrt(1.0 - optimizer.rho)
        return EffectiveStep(rate / divisor, _LIMIT * longest)
    mean = _slot_tensor(optimizer, "_average_gradients", variable)
    # An update divided by a variance has no limit, so the step has none. At
    # rest the variance is as small as rounding errors, which differ between
    # compilers. An epsilon well above them makes the step reliable. With the
    # default one, updates at rest are so long that weights oscillate by about
    # the learning rate, as in Keras without a penalty.
    divisor = ops.sqrt(v - ops.square(mean) + optimizer.epsilon)
    return EffectiveStep(rate / divisor)


def _adagrad(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradient_sizes(optimizer, "_accumulators", variable)
    divisor = ops.sqrt(v + optimizer.epsilon)
    return EffectiveStep(rate / divisor, _LIMIT * rate)


def _adadelta(optimizer: Any, variable: Any, rate: Tensor) -> EffectiveStep:
    v = _gradient_sizes(optimizer, "_accumulated_grads", variable)
    deltas = _slot_tensor(optimizer, "_accumulated_delta_vars", variable)
    numerator = rate * ops.sqrt(deltas + optimizer.epsilon)
    divisor = ops.sqrt(v + optimizer.epsilon)
    return EffectiveStep(numerator / divisor)


def _schedule_free_adamw(
    optimizer: Any, variable: Any, rate: Tensor
) -> EffectiveStep:
    """The step of the iterate `z`, from which the weight is averaged.

    The weight is `(1 - beta_1) * z + beta_1 * x`, where x is an average of z
    in which the last z has the weight `1 / k` after k updates. Where z is zero,
    the weight is set to zero, too, and the average starts anew.
    """
    v = _gradient_sizes(optimizer, "_velocities", variable)
    k = ops.cast(optimizer.iterations, v.dtype)
    if optimizer.warmup_steps:
        rate = rate * ops.minimum(k / optimizer.warmup_steps, 1.0)
    second = _bias_correction(optimizer, optimizer.beta_2, v.dtype)
    divisor = ops.sqrt(v / second) + optimizer.epsilon
    return EffectiveStep(
        rate / divisor,
        _LIMIT * rate,
        iterate=slot(optimizer, "_momentums", variable),
        iterate_coefficient=1.0 - optimizer.beta_1 + optimizer.beta_1 / k,
    )


def _momentum_scale(optimizer: Any) -> float | None:
    """The scale of `velocity = momentum * velocity - rate * gradient`."""
    correction = _inverse_weight_sum(optimizer, optimizer.momentum)
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    if correction is None or rate == 0.0:
        return None
    return -correction * (1.0 - optimizer.momentum) / rate


def _first_moment_scale(optimizer: Any) -> float | None:
    """The scale of `m = beta_1 * m + (1 - beta_1) * gradient`."""
    return _inverse_weight_sum(optimizer, optimizer.beta_1)


def _inverse_weight_sum(optimizer: Any, decay: float) -> float | None:
    """One over the sum of a moving average's coefficients after k updates."""
    k = int(ops.convert_to_numpy(optimizer.iterations))
    return 1.0 / (1.0 - float(decay) ** k) if k else None


def _momentum(optimizer: Any) -> float:
    return float(optimizer.momentum)


def _beta_1(optimizer: Any) -> float:
    return float(optimizer.beta_1)


def _is_centered_with_momentum(optimizer: Any) -> bool:
    """Whether an RMSprop divides by variances, and keeps the quotients.

    Variances change by orders of magnitude within a few updates.
    """
    return bool(optimizer.centered and optimizer.momentum)


def _no_momentum(optimizer: Any) -> float:
    return 0.0


_VELOCITY = GradientMemory("momentums", _momentum_scale)
_FIRST_MOMENT = GradientMemory("_momentums", _first_moment_scale)

_ON_JAX = keras.backend.backend() == "jax"

KERAS_OPTIMIZERS: dict[type, OptimizerRow] = {
    # AdamW shares the row of Adam, as it inherits its `update_step`.
    keras.optimizers.SGD: OptimizerRow(
        _sgd, _VELOCITY, _momentum, momentum_holds_rate=True
    ),
    keras.optimizers.Adam: OptimizerRow(_adam, _FIRST_MOMENT, _beta_1),
    keras.optimizers.Nadam: OptimizerRow(_nadam, _FIRST_MOMENT, _beta_1),
    keras.optimizers.Adamax: OptimizerRow(
        _adamax, GradientMemory("_m", _first_moment_scale), _beta_1
    ),
    keras.optimizers.RMSprop: OptimizerRow(
        _rmsprop,
        momentum=_momentum,
        momentum_holds_rate=True,
        momentum_holds_step=_is_centered_with_momentum,
    ),
    keras.optimizers.Adagrad: OptimizerRow(_adagrad, momentum=_no_momentum),
    keras.optimizers.Adadelta: OptimizerRow(_adadelta, momentum=_no_momentum),
    # No momentum is stated, so that penalties that are not convex are refused:
    # gradients are taken at an average of iterates that moves too slowly for
    # any step to be short enough.
    # On TensorFlow and torch, Keras 3.15 reads the old iterate after it has
    # changed, so the weights are not those of the paper.
    keras.optimizers.ScheduleFreeAdamW: OptimizerRow(
        _schedule_free_adamw if _ON_JAX else None,
        refusal=""
        if _ON_JAX
        else "Keras computes ScheduleFreeAdamW rightly on the JAX backend "
        "alone: on the others its averages are wrong and weights hardly move. "
        "Use Adam with a `CosineDecay`, or the JAX backend.",
    ),
    keras.optimizers.Ftrl: OptimizerRow(
        refusal="Ftrl replaces weights by a function of its accumulators, so a "
        "proximal step on the weights is undone; it also zeroes pretrained "
        "weights. Use Adagrad."
    ),
    keras.optimizers.Lion: OptimizerRow(
        refusal="Lion moves by the sign of the gradient, so its fixed point "
        "has no effective step. Use Adam."
    ),
    keras.optimizers.Lamb: OptimizerRow(
        refusal="Lamb scales a whole layer by its own norm, which a proximal "
        "step changes. Use Adam."
    ),
    keras.optimizers.Muon: OptimizerRow(
        refusal="Muon orthogonalizes the update of a matrix, so an entry has "
        "no effective step of its own. Use Adam."
    ),
    keras.optimizers.Adafactor: OptimizerRow(
        refusal="Adafactor factors its second moments and scales by the "
        "weights' own size. Use Adam."
    ),
    keras.optimizers.MultiOptimizer: OptimizerRow(
        refusal="A MultiOptimizer goes directly inside: "
        "ProximalOptimizer(MultiOptimizer(...))."
    ),
    keras.optimizers.LossScaleOptimizer: OptimizerRow(
        refusal="Put the ProximalOptimizer inside: "
        "LossScaleOptimizer(ProximalOptimizer(...))."
    ),
}
