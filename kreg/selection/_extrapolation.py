"""Where the next point of a path begins: on the line through the last two."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.selection._variable_values import (
    Values,
    assign_values,
    values_of,
)

_LENGTHS = (1.0, 0.5)


def extrapolate(
    variables: Sequence[keras.Variable],
    before: Values,
    strengths: Sequence[float],
    objective: Callable[[], float],
) -> Values:
    """Move weights on as far as they would come at the next strength.

    This is the predictor of a predictor-corrector method; training corrects.
    Weights are taken as linear in the logarithm of the strength. All of the
    way is gone, or a half, or nothing, whichever the objective is lowest at.
    A weight that would lose its sign stays, so nothing becomes zero here, and
    zeros remain.

    Args:
        variables: the weights, as they are at the last strength.
        before: what they were at the strength before it; empty if unknown.
        strengths: the one before, the last, and the next.
        objective: tells the objective at the next strength.

    Returns:
        The weights before they were moved.

    References:
        Park and Hastie, "L1-regularization path algorithm for generalized
        linear models", Journal of the Royal Statistical Society B 69(4), 2007.
    """
    last = values_of(variables)
    if not before or min(strengths) == 0.0:
        return last
    first, second, third = map(math.log, strengths)
    ratio = (third - second) / (second - first)
    best, lowest = last, objective()
    for length in _LENGTHS:
        moved = [
            _with_signs_kept(new, new + length * ratio * (new - old))
            for old, new in zip(before, last, strict=True)
        ]
        assign_values(variables, moved)
        reached = objective()
        if reached < lowest:
            best, lowest = moved, reached
    assign_values(variables, best)
    return last


def _with_signs_kept(
    weights: NDArray[Any], moved: NDArray[Any]
) -> NDArray[Any]:
    return np.where(weights * moved > 0.0, moved, weights)
