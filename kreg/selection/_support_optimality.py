"""How far a model with a frozen support is from a minimum on it."""

import math

import keras
import numpy as np
from keras import ops

from kreg.optimizers._gradient_memory import gradient_memory
from kreg.statistics import read
from kreg.statistics._rows import rows_of
from kreg.surgery._keep_support import KeepSupport


def support_optimality(model: keras.Model) -> float | None:
    """The optimality residual without what a frozen support keeps at zero.

    Args:
        model: a compiled model.

    Returns:
        The residual; None where the optimizer keeps no average of gradients.
    """
    total = 0.0
    for row, weight in zip(rows_of(model), read(model).weights, strict=True):
        if not row.variable.trainable:
            continue
        if weight.optimality is None:
            return None
        size = weight.optimality
        if isinstance(row.variable.constraint, KeepSupport):
            size = _gradient_norm(model, row.variable)
        total += size**2
    return math.sqrt(total)


def _gradient_norm(model: keras.Model, variable: keras.Variable) -> float:
    """The norm of the remembered gradient on the support of a weight."""
    memory = gradient_memory(model.optimizer, variable)
    scale = None if memory is None else memory.scale(memory.optimizer)
    if memory is None or scale is None:
        return math.inf
    kept = variable.constraint.kept(ops.convert_to_tensor(memory.slot))
    return float(np.linalg.norm(scale * ops.convert_to_numpy(kept)))
