"""What is not penalized, fitted to where all that is penalized is zero."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg.selection._data_gradient import DataGradient

_STEPS = 200
_SMALL = 1e-6
# How many steps without a smaller gradient tell that rounding is reached.
_STALLED = 10


def fit_unpenalized(
    gradient: DataGradient, penalized: Sequence[keras.Variable]
) -> None:
    """Minimise the data loss over the weights that have no penalty.

    By gradient steps whose length the last two gradients tell (Barzilai and
    Borwein, "Two-Point Step Size Gradient Methods", 1988): biases are few, and
    at the null model each acts on an output of its own.

    Args:
        gradient: the gradient of the model.
        penalized: the weights with a penalty, which are zero.
    """
    fixed = {id(variable) for variable in penalized}
    variables = gradient.model.trainable_variables
    free = [i for i, v in enumerate(variables) if id(v) not in fixed]
    if not free:
        return

    def at(values: NDArray[Any]) -> tuple[NDArray[Any], float]:
        start = 0
        for i in free:
            shape = tuple(variables[i].shape)
            stop = start + int(np.prod(shape))
            variables[i].assign(values[start:stop].reshape(shape))
            start = stop
        found = gradient()
        rest = [g for i, g in enumerate(found) if i not in free]
        return _flat([found[i] for i in free]), float(
            np.linalg.norm(_flat(rest))
        )

    values = _flat([ops.convert_to_numpy(variables[i]) for i in free])
    slope, scale = at(values)
    length = 1.0 / max(1.0, float(np.linalg.norm(slope)))
    best = float(np.linalg.norm(slope)), values
    stalled = 0
    for _ in range(_STEPS):
        if best[0] <= _SMALL * scale or stalled == _STALLED:
            break
        moved = values - length * slope
        after, scale = at(moved)
        change, bend = moved - values, after - slope
        product = float(change @ bend)
        if product <= 0.0:
            length *= 2.0
        else:
            length = product / float(bend @ bend)
        values, slope = moved, after
        size = float(np.linalg.norm(slope))
        stalled += 1
        if size < best[0]:
            best, stalled = (size, values), 0
    at(best[1])


def _flat(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    flat = [np.asarray(array, "float64").reshape(-1) for array in arrays]
    return np.concatenate(flat) if flat else np.zeros(0)
