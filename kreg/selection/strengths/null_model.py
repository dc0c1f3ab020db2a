"""The null model: its penalized weights are zero, the others fitted."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg.selection.data.batches import some_rows
from kreg.selection.training.gradient import DataGradient, data_gradient
from kreg.selection.training.inputs import is_linear

_STEPS = 200
_SMALL = 1e-6
# After so many steps without a smaller gradient, only rounding is left.
_STALLED = 10


def fit_unpenalized(
    gradient: DataGradient, penalized: Sequence[keras.Variable]
) -> None:
    """Minimise the data loss over the weights that have no penalty.

    These are few weights, mostly biases, each with an output of its own. So
    gradient steps will do. Their length follows from the last two gradients
    (Barzilai and Borwein, "Two-Point Step Size Gradient Methods", 1988).

    Args:
        gradient: the gradient of the model.
        penalized: the weights with a penalty, which are zero.
    """
    fixed = {id(variable) for variable in penalized}
    variables = gradient.model.trainable_variables
    free = [i for i, v in enumerate(variables) if id(v) not in fixed]
    if not free:
        return

    def slope_at(values: NDArray[Any]) -> tuple[NDArray[Any], float]:
        """The gradient of the free weights, and the norm of the others'."""
        start = 0
        for i in free:
            shape = tuple(variables[i].shape)
            stop = start + int(np.prod(shape))
            variables[i].assign(values[start:stop].reshape(shape))
            start = stop
        slopes = gradient()
        rest = [g for i, g in enumerate(slopes) if i not in free]
        return _flat([slopes[i] for i in free]), float(
            np.linalg.norm(_flat(rest))
        )

    values = _flat([ops.convert_to_numpy(variables[i]) for i in free])
    slope, scale = slope_at(values)
    length = 1.0 / max(1.0, float(np.linalg.norm(slope)))
    best = float(np.linalg.norm(slope)), values
    stalled = 0
    for _ in range(_STEPS):
        if best[0] <= _SMALL * scale or stalled == _STALLED:
            break
        moved = values - length * slope
        after, scale = slope_at(moved)
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
    slope_at(best[1])


def _flat(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    flat = [np.asarray(array, "float64").reshape(-1) for array in arrays]
    return np.concatenate(flat) if flat else np.zeros(0)


# A weight is needed if its rise of the loss is this fraction of the largest.
_NEEDED = 0.5
# How many rows the strength of a network is computed from.
_ROWS = 4096

StrengthOf = Callable[[DataGradient, Any, NDArray[Any]], float | None]


def strength_at_zero(
    model: keras.Model,
    train: Any,
    penalized: Sequence[keras.Variable],
    strength_of: StrengthOf,
) -> float | None:
    """The strength of a whole model at zero, from the strengths of its weights.

    For a linear model it is the largest strength of a weight. A network is
    lost as soon as one weight that it needs is zero. So for a network it is the
    smallest strength of a needed weight. A weight is needed if setting it alone
    to zero raises the data loss by at least half of the largest such rise.

    Args:
        model: a compiled model.
        train: the training data.
        penalized: the weights with a penalty.
        strength_of: a function that returns the strength of one weight, or
            None if it has none. It is called when the weight is zero, with the
            function for gradients, the weight, and the gradient of the data
            loss.

    Returns:
        A float, or None if no weight has a strength.
    """
    needed, linear = [], is_linear(model)
    if not linear:
        train = some_rows(train, _ROWS)
    with data_gradient(model, train) as gradient:
        gradient()
        trained = gradient.loss
        for variable, slope in _slopes_at_zero(gradient, penalized):
            loss = gradient.loss
            strength = strength_of(gradient, variable, slope)
            if strength is not None:
                needed.append((strength, loss - trained))
    if not needed:
        return None
    strengths, rises = map(np.array, zip(*needed, strict=True))
    if linear:
        return float(strengths.max())
    # In an untrained model no weight may be of use, and the loss may be NaN.
    if rises.max() > 0.0:
        strengths = strengths[rises >= _NEEDED * rises.max()]
    return float(strengths.min())


def gradients_by_id(gradient: DataGradient) -> dict[int, NDArray[Any]]:
    """The gradient of each trainable variable, by the variable's `id`."""
    variables = gradient.model.trainable_variables
    slopes = gradient()
    return {id(v): slope for v, slope in zip(variables, slopes, strict=True)}


def _slopes_at_zero(
    gradient: DataGradient, penalized: Sequence[keras.Variable]
) -> Iterator[tuple[keras.Variable, NDArray[Any]]]:
    """Each weight, with the gradient of the data loss where it is zero.

    In a linear model all are zero at once, and the others are fitted. In a
    network only the weight itself is zero.
    """
    if is_linear(gradient.model):
        for variable in penalized:
            variable.assign(np.zeros(variable.shape))
        fit_unpenalized(gradient, penalized)
        slopes = gradients_by_id(gradient)
        for variable in penalized:
            yield variable, slopes[id(variable)]
        return
    for variable in penalized:
        before = np.array(ops.convert_to_numpy(variable))
        variable.assign(np.zeros_like(before))
        yield variable, gradients_by_id(gradient)[id(variable)]
        variable.assign(before)
