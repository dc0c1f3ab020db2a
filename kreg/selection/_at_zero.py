"""What the data want of weights where these are zero."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg.selection._batches import some_rows
from kreg.selection._data_gradient import DataGradient, data_gradient
from kreg.selection._linear import is_linear
from kreg.selection._null_biases import fit_unpenalized

# Which part of the largest rise of the loss tells that a weight is needed.
_NEEDED = 0.5
# How many rows tell the scale of a network.
_ROWS = 4096

StrengthOf = Callable[[DataGradient, Any, NDArray[Any]], float | None]


def strength_at_zero(
    model: keras.Model,
    train: Any,
    penalized: Sequence[keras.Variable],
    strength_of: StrengthOf,
) -> float | None:
    """The strength that zero has for a whole model.

    A linear model needs the largest that its weights have. A network is gone
    with the first weight that it cannot do without: those that cost at least
    half as much as the dearest one, if they alone are zero.

    Args:
        model: a compiled model.
        train: the training data.
        penalized: the weights with a penalty.
        strength_of: the strength of one weight from the function that gives
            gradients, the weight, which is zero then, and the gradient of the
            data loss there; None if it has none.

    Returns:
        A float, or None if no weight has a strength.
    """
    found, linear = [], is_linear(model)
    if not linear:
        train = some_rows(train, _ROWS)
    with data_gradient(model, train) as gradient:
        gradient()
        trained = gradient.loss
        for variable, slope in _slopes_at_zero(gradient, penalized):
            loss = gradient.loss
            strength = strength_of(gradient, variable, slope)
            if strength is not None:
                found.append((strength, loss - trained))
    if not found:
        return None
    strengths, rises = map(np.array, zip(*found, strict=True))
    if linear:
        return float(strengths.max())
    # Before training weights may be of no use, and a loss may not be known.
    if rises.max() > 0.0:
        strengths = strengths[rises >= _NEEDED * rises.max()]
    return float(strengths.min())


def by_variable(gradient: DataGradient) -> dict[int, NDArray[Any]]:
    """The gradient now, by the identities of the trainable variables."""
    variables = gradient.model.trainable_variables
    found = gradient()
    return {id(v): value for v, value in zip(variables, found, strict=True)}


def _slopes_at_zero(
    gradient: DataGradient, penalized: Sequence[keras.Variable]
) -> Iterator[tuple[keras.Variable, NDArray[Any]]]:
    """Each weight, with the gradient of the data loss where it is zero.

    In a linear model all are zero at once, and what has no penalty is fitted.
    """
    if is_linear(gradient.model):
        for variable in penalized:
            variable.assign(np.zeros(variable.shape))
        fit_unpenalized(gradient, penalized)
        found = by_variable(gradient)
        for variable in penalized:
            yield variable, found[id(variable)]
        return
    for variable in penalized:
        before = np.array(ops.convert_to_numpy(variable))
        variable.assign(np.zeros_like(before))
        yield variable, by_variable(gradient)[id(variable)]
        variable.assign(before)
