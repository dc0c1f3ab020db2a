"""Gradients at the null model: penalized weights zero, all others fitted."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.layers.weights import layouts_of
from kreg.regularizers.grouping import Grouping
from kreg.selection.data.batches import some_rows
from kreg.selection.strengths.centring import (
    are_targets_alike,
    centred,
    may_be_rounding,
)
from kreg.selection.strengths.minimum import slope_at_minimum
from kreg.selection.strengths.penalty_family import PenaltyFamily
from kreg.selection.strengths.slopes import Slope
from kreg.selection.training.gradient import DataGradient, data_gradient
from kreg.selection.training.inputs import is_linear
from kreg.selection.training.models import assign_values, values_of
from kreg.surgery.owned_weights import owned_weights
from kreg.surgery.rules import assignments_of

Array = NDArray[Any]


@dataclass(frozen=True)
class PenalizedWeight:
    """A weight that a penalty would act on.

    Args:
        variable: the weight.
        groups: the groups of its entries; None for a separable penalty.
        spared: bool array of its shape, the unpenalized entries, whose factor
            is 0.
    """

    variable: keras.Variable
    groups: Grouping | None
    spared: NDArray[np.bool_]

    def only_spared(self, array: Array) -> Array:
        """An array of the weight's shape, with penalized entries set to 0."""
        return np.where(self.spared, array, np.zeros_like(array))

    def only_penalized(self, array: Array) -> Array:
        """An array of the weight's shape, with unpenalized entries set to 0."""
        return np.where(self.spared, np.zeros_like(array), array)


def penalized_weights(
    model: keras.Model, family: PenaltyFamily
) -> list[PenalizedWeight]:
    """The trainable weights of a model that the penalty would act on."""
    penalty = family.penalty
    if penalty.ties is not None:
        raise ValueError(
            "`penalty` must act on single weights, or its largest strength is "
            f"unknown; `groups={penalty.ties!r}` ties several. Choose the "
            f"strengths yourself. Received: {family.text}"
        )
    rules: Any = penalty
    if family.rules is not None:
        rules = [(rule, penalty) for rule in family.rules]
    layouts = layouts_of(model)
    chosen = []
    for assignment in assignments_of(rules, model, owned_weights(model)):
        variable = assignment.weight.variable
        if variable.trainable:
            shape = tuple(variable.shape)
            groups = penalty.grouping(shape, layouts.get(id(variable)))
            left = family.shrunk(np.ones(shape), _ANY_STRENGTH, groups)
            chosen.append(PenalizedWeight(variable, groups, left > 0.5))
    return chosen


# A strength that moves every entry whose factor is not 0.
_ANY_STRENGTH = 1e30
# A weight is needed if zeroing it raises the loss by at least this fraction of
# the largest such rise.
_NEEDED = 0.5
# The number of rows from which the strength of a network is computed.
_ROWS = 4096

StrengthOf = Callable[[DataGradient, PenalizedWeight, Array], float]
LeastSlope = Callable[[DataGradient, PenalizedWeight, Array, Any], Array]


def strength_at_zero(
    model: keras.Model,
    train: Any,
    penalized: Sequence[PenalizedWeight],
    strength_of: StrengthOf,
    least_slope: LeastSlope | None = None,
) -> float:
    """The strength that keeps a model at zero.

    For a linear model it is the largest strength of a weight. A network fails
    as soon as one weight that it needs is zero, so there it is the smallest
    strength of a needed weight. A weight is needed if setting it alone to zero
    raises the data loss by at least half of the largest such rise.

    Args:
        model: a compiled model.
        train: the training data.
        penalized: the weights with a penalty.
        strength_of: a function that returns the strength of one weight, or 0.0
            if nothing pulls it away from zero. It is called while the penalized
            entries of the weight are zero, with the function for gradients, the
            weight, and the gradient of the data loss by those entries.
        least_slope: a function that gets the same at the null model of a model
            with one penalized weight, and the data. It returns the subgradient
            of least strength, if the loss has kinks there.

    Returns:
        A float; 0.0 if nothing pulls any weight away from zero; NaN if the
        gradient is nothing but rounding, because data are far from zero, or no
        minimum was found.
    """
    needed, linear = [], is_linear(model)
    if linear:
        fixed = {id(weight.variable) for weight in penalized}
        train, is_centred = centred(model, train, fixed)
        if is_centred and are_targets_alike(train):
            # The biases fit such targets exactly; any gradient is rounding.
            return 0.0
    else:
        train = some_rows(train, _ROWS)
    with data_gradient(model, train) as gradient:
        gradient()
        trained = gradient.loss
        slopes = _slopes_at_null_model if linear else _slopes_one_by_one
        for weight, slope in slopes(gradient, penalized):
            loss = gradient.loss
            if linear and not np.isfinite(slope).all():
                return math.nan
            if linear and least_slope is not None and len(penalized) == 1:
                slope = least_slope(gradient, weight, slope, train)
            strength = strength_of(gradient, weight, slope)
            if strength > 0.0:
                needed.append((strength, loss - trained))
    if linear:
        largest = max((strength for strength, _ in needed), default=0.0)
        return math.nan if may_be_rounding(train, largest) else largest
    if not needed:
        return 0.0
    strengths, rises = map(np.array, zip(*needed, strict=True))
    # In an untrained model perhaps no weight is useful, or the loss is NaN.
    if rises.max() > 0.0:
        strengths = strengths[rises >= _NEEDED * rises.max()]
    return float(strengths.min())


def gradients_by_id(gradient: DataGradient) -> dict[int, Array]:
    """The gradient of each trainable variable, by the variable's `id`."""
    variables = gradient.model.trainable_variables
    slopes = gradient()
    return {id(v): slope for v, slope in zip(variables, slopes, strict=True)}


def _slopes_at_null_model(
    gradient: DataGradient, penalized: Sequence[PenalizedWeight]
) -> Iterator[tuple[PenalizedWeight, Array]]:
    """The weights and gradients of a linear model at the null model."""
    fixed = {id(weight.variable) for weight in penalized}
    others = [
        v for v in gradient.model.trainable_variables if id(v) not in fixed
    ]
    partly = [weight for weight in penalized if weight.spared.any()]
    for weight in penalized:
        weight.variable.assign(np.zeros(weight.spared.shape))

    def free_of(arrays: dict[int, Array]) -> Array:
        """The fitted entries of one array for each variable, as a vector."""
        return _flat(
            [arrays[id(v)] for v in others]
            + [arrays[id(w.variable)][w.spared] for w in partly]
        )

    fitted = [*others, *(weight.variable for weight in partly)]

    def place() -> Array:
        values = values_of(fitted)
        return free_of(dict(zip(map(id, fitted), values, strict=True)))

    def slope_at(wanted: Array) -> Slope:
        start = 0
        for variable in others:
            stop = start + int(np.prod(variable.shape))
            variable.assign(wanted[start:stop].reshape(variable.shape))
            start = stop
        for weight in partly:
            value = np.zeros(weight.spared.shape)
            stop = start + int(weight.spared.sum())
            value[weight.spared] = wanted[start:stop]
            weight.variable.assign(value)
            start = stop
        slopes = gradients_by_id(gradient)
        rest = [w.only_penalized(slopes[id(w.variable)]) for w in penalized]
        return Slope(place(), free_of(slopes), _flat(rest), gradient.loss)

    minimum, start = slope_at_minimum(slope_at, place()), 0
    slope_at(minimum.place)
    for weight in penalized:
        stop = start + weight.spared.size
        flat = minimum.fixed[start:stop]
        yield weight, flat.reshape(weight.spared.shape)
        start = stop


def _slopes_one_by_one(
    gradient: DataGradient, penalized: Sequence[PenalizedWeight]
) -> Iterator[tuple[PenalizedWeight, Array]]:
    """The weights and gradients of a network, one weight zero at a time."""
    for weight in penalized:
        before = values_of([weight.variable])
        weight.variable.assign(weight.only_spared(before[0]))
        slope = gradients_by_id(gradient)[id(weight.variable)]
        yield weight, weight.only_penalized(slope)
        assign_values([weight.variable], before)


def _flat(arrays: Sequence[Array]) -> Array:
    flat = [np.asarray(array, "float64").reshape(-1) for array in arrays]
    return np.concatenate(flat) if flat else np.zeros(0)
