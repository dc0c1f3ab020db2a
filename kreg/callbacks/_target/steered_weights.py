"""Which weights are steered to a target, and which of them share one target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import is_suspended, penalty_applier
from kreg.binding.ties import tie_part
from kreg.binding.weight_optimizers import WeightOptimizers
from kreg.callbacks._target.zero_counts import (
    Countable,
    entries_of,
    units_of,
)
from kreg.regularizers import Penalty
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.statistics.rows import distinct_paths


@dataclass(frozen=True)
class SteeredWeights:
    """Weights that share one target, and their penalties.

    Args:
        name: the name of the model, weight or tie, for messages.
        penalties: the penalties; one factor moves their strengths.
        members: the indices of the weights in the list of all weights.
        countables: the entries or units that are counted.
        owned: for each penalty, the weights that it acts on.
        optimizers: the optimizers of the weights.
    """

    name: str
    penalties: tuple[Penalty, ...]
    members: tuple[int, ...]
    countables: tuple[Countable, ...]
    owned: tuple[tuple[int, ...], ...]
    optimizers: WeightOptimizers

    @property
    def total(self) -> int:
        """The number of their entries or units."""
        return sum(countable.count for countable in self.countables)

    def step_of(self, penalty: Penalty) -> int:
        """The iteration of the optimizer that updates a penalty's weights."""
        weights = self.owned[self.penalties.index(penalty)]
        updated = (w for w in weights if self.optimizers.of(w) is not None)
        step = self.optimizers.step_of(next(updated, weights[0]))
        return int(ops.convert_to_numpy(step))


def steered_weights(
    model: keras.Model,
    owners: dict[Penalty, list[keras.Variable]],
    optimizers: WeightOptimizers,
    *,
    units: bool,
    per_layer: bool,
) -> tuple[list[keras.Variable], list[SteeredWeights]]:
    """Find the weights to steer, and which of them share a target.

    Args:
        model: the model.
        owners: the penalties, with the weights that each acts on.
        optimizers: the optimizers of the weights.
        units: whether to count units. Weights that feed no units are then left
            out, and so are penalties that act on no others.
        per_layer: whether to steer each penalty on its own.

    Returns:
        A list of all weights whose zeros are counted, and the groups of weights
        that share a target. The members of a group are indices into the list.
    """
    if units:
        owners = _feeding_units(model, owners)
    variables = [v for owned in owners.values() for v in owned]
    indices = {id(variable): i for i, variable in enumerate(variables)}
    parts = map(tie_part, variables)
    paths = distinct_paths(
        variable if part is None else part.tie
        for variable, part in zip(variables, parts, strict=True)
    )
    penalty_groups = [[p] for p in owners] if per_layer else [list(owners)]
    steered = []
    for penalties in penalty_groups if owners else []:
        members = [indices[id(v)] for p in penalties for v in owners[p]]
        countables = (
            units_of(model, variables, members)
            if units
            else entries_of(variables, members)
        )
        name = paths[members[0]] if per_layer else model.name
        steered.append(
            SteeredWeights(
                name,
                tuple(penalties),
                tuple(members),
                tuple(countables),
                tuple(tuple(map(id, owners[p])) for p in penalties),
                optimizers,
            )
        )
    return variables, steered


def _feeding_units(
    model: keras.Model, owners: dict[Penalty, list[keras.Variable]]
) -> dict[Penalty, list[keras.Variable]]:
    """`owners` without the weights that feed no units."""
    feeding = {}
    for penalty, variables in owners.items():
        units = units_of(model, variables, range(len(variables)))
        members = sorted({i for u in units for i in u.members})
        if members:
            feeding[penalty] = [variables[i] for i in members]
    return feeding


def updated_weights(
    weights: SteeredWeights, variables: Sequence[keras.Variable]
) -> SteeredWeights | None:
    """The part of `weights` that an optimizer updates; None if there is none.

    Args:
        weights: the weights.
        variables: the list of all weights.
    """
    updated = {
        i
        for i, variable in enumerate(variables)
        if weights.optimizers.of(id(variable)) is not None
    }
    if updated.issuperset(weights.members):
        return weights
    members = tuple(i for i in weights.members if i in updated)
    countables = tuple(
        c for c in weights.countables if updated.issuperset(c.members)
    )
    if not countables:
        return None
    return replace(weights, members=members, countables=countables)


_TINY_WEIGHT = 1e-6


def zeroed_variables(
    owners: Mapping[StrengthRegularizer, list[keras.Variable]],
    optimizers: WeightOptimizers,
) -> dict[Penalty, list[keras.Variable]]:
    """The weights that each penalty can zero; penalties without any left out.

    Weights that are frozen, are under `freeze_support`, or have an optimizer
    without proximal steps are left out.

    Args:
        owners: the penalties, with the weights that each acts on.
        optimizers: the optimizers of the weights.
    """
    zeroed = {
        penalty: [
            v
            for v in variables
            if v.trainable
            and not is_suspended(v)
            and _may_take_steps(optimizers.of(id(v)))
            and np.asarray(ops.convert_to_numpy(would_be_zero(v))).any()
        ]
        for penalty, variables in owners.items()
        if isinstance(penalty, Penalty)
    }
    return {p: variables for p, variables in zeroed.items() if variables}


def _may_take_steps(optimizer: keras.optimizers.Optimizer | None) -> bool:
    return optimizer is None or penalty_applier(optimizer) is not None


def would_be_zero(variable: keras.Variable) -> Tensor:
    """Which entries of a weight become zero under a strong enough penalty.

    This takes a proximal step from a tiny weight, with every nonzero strength
    set to 1. L1 makes an entry zero, L2 only shrinks it, and a penalty factor
    of 0 leaves it alone.

    Args:
        variable: a weight with a bound kreg penalty.

    Returns:
        A boolean tensor of the weight's shape.
    """
    bound: BoundPenalty = variable.regularizer
    penalty = bound.penalty
    w = ops.full(variable.shape, _TINY_WEIGHT, "float32")
    strengths = {
        name: 1.0 if _may_be_positive(getattr(penalty, name)) else 0.0
        for name in penalty.strength_names()
    }
    part = tie_part(variable)
    if part is None:
        after = penalty.proximal_step(w, 1.0, strengths, bound.groups)
    else:
        groups = part.tie.groups([part])
        (after,) = groups.proximal_step(penalty, [w], 1.0, strengths)
    return ops.equal(after, 0)


def _may_be_positive(strength: float | LearningRateSchedule) -> bool:
    return isinstance(strength, LearningRateSchedule) or strength > 0.0
