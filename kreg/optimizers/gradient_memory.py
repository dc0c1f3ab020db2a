"""What an optimizer remembers of the gradient of a weight."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kreg._keras_private import known_variables, responsible_optimizer, slot
from kreg.binding.binding import innermost_optimizer, penalty_applier


@dataclass(frozen=True)
class GradientMemory:
    """A moving average of past gradients, up to a factor.

    Args:
        slot: the variable that holds it.
        optimizer: the optimizer that updates the weight.
        scale: `scale(optimizer)` is what the slots of that optimizer must be
            multiplied by now, or None before its first update.
        of_data: whether the gradients are those of the data loss alone;
            otherwise they hold the penalties' gradients too.
    """

    slot: keras.Variable
    optimizer: keras.optimizers.Optimizer
    scale: Callable[[Any], float | None]
    of_data: bool


def gradient_memory(
    optimizer: keras.optimizers.Optimizer | None, variable: keras.Variable
) -> GradientMemory | None:
    """The memory of `optimizer` for `variable`; None if it has none.

    SGD with momentum, Adam and its relatives keep an average of gradients;
    most others keep sizes, without signs.

    Args:
        optimizer: the optimizer of a model, whatever it is wrapped in.
        variable: a weight.
    """
    inner = innermost_optimizer(optimizer)
    if inner is None or not inner.built:
        return None
    responsible: Any = responsible_optimizer(inner, variable)
    if all(known is not variable for known in known_variables(responsible)):
        return None
    found = _memory(responsible)
    if found is None:
        return None
    name, scale = found
    return GradientMemory(
        slot(responsible, name, variable),
        responsible,
        scale,
        penalty_applier(optimizer) is not None,
    )


def _memory(optimizer: Any) -> tuple[str, Callable[[Any], float | None]] | None:
    """The list that holds the averages, and their scale."""
    for cls, memory in _MEMORIES.items():
        if type(optimizer).update_step is cls.update_step:
            without = cls is keras.optimizers.SGD and not optimizer.momentum
            return None if without else memory
    return None


def _of_adam(optimizer: Any) -> float | None:
    return _corrected(optimizer, optimizer.beta_1)


def _of_momentum(optimizer: Any) -> float | None:
    """`velocity = momentum * velocity - rate * gradient`."""
    correction = _corrected(optimizer, optimizer.momentum)
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    if correction is None or rate == 0.0:
        return None
    return -correction * (1.0 - optimizer.momentum) / rate


def _corrected(optimizer: Any, decay: float) -> float | None:
    """One over the sum of the average's weights after k updates."""
    k = int(ops.convert_to_numpy(optimizer.iterations))
    return 1.0 / (1.0 - float(decay) ** k) if k else None


_MEMORIES: dict[Any, tuple[str, Callable[[Any], float | None]]] = {
    keras.optimizers.SGD: ("momentums", _of_momentum),
    keras.optimizers.Adam: ("_momentums", _of_adam),
    keras.optimizers.AdamW: ("_momentums", _of_adam),
    keras.optimizers.Nadam: ("_momentums", _of_adam),
    keras.optimizers.Adamax: ("_m", _of_adam),
}
