"""Which weights of a model are steered to a target, and which together."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import is_suspended
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
    """Weights whose sparsity together is steered, with their penalties.

    Args:
        name: what is counted, for messages.
        penalties: their penalties, which are moved by one factor.
        members: the places of the weights in the list of all.
        countables: what is counted in them.
    """

    name: str
    penalties: tuple[Penalty, ...]
    members: tuple[int, ...]
    countables: tuple[Countable, ...]

    @property
    def total(self) -> int:
        """How many entries or units there are."""
        return sum(countable.count for countable in self.countables)


def steered_weights(
    model: keras.Model,
    owners: dict[Penalty, list[keras.Variable]],
    *,
    units: bool,
    per_layer: bool,
) -> tuple[list[keras.Variable], list[SteeredWeights]]:
    """All weights that are looked at, and which are steered together.

    Args:
        model: the model.
        owners: the penalties, with the weights that each acts on.
        units: whether units are counted; then only weights that feed units
            count, and only their penalties are steered.
        per_layer: whether each penalty is steered on its own.
    """
    if units:
        owners = _feeding_units(model, owners)
    variables = [v for owned in owners.values() for v in owned]
    places = {id(variable): i for i, variable in enumerate(variables)}
    paths = distinct_paths(variables)
    together = [[p] for p in owners] if per_layer else [list(owners)]
    steered = []
    for penalties in together if owners else []:
        members = [places[id(v)] for p in penalties for v in owners[p]]
        countables = (
            units_of(model, variables, members)
            if units
            else entries_of(variables, members)
        )
        name = paths[members[0]] if per_layer else model.name
        steered.append(
            SteeredWeights(
                name, tuple(penalties), tuple(members), tuple(countables)
            )
        )
    return variables, steered


def _feeding_units(
    model: keras.Model, owners: dict[Penalty, list[keras.Variable]]
) -> dict[Penalty, list[keras.Variable]]:
    feeding = {}
    for penalty, variables in owners.items():
        units = units_of(model, variables, range(len(variables)))
        members = sorted({i for u in units for i in u.members})
        if members:
            feeding[penalty] = [variables[i] for i in members]
    return feeding


_TINY = 1e-6


def zeroed_variables(
    owners: Mapping[StrengthRegularizer, list[keras.Variable]],
) -> dict[Penalty, list[keras.Variable]]:
    """What each penalty can make zero; penalties that cannot are left out.

    Frozen weights and those under `freeze_support` are left out too.
    """
    zeroed = {
        penalty: [
            v
            for v in variables
            if v.trainable
            and not is_suspended(v)
            and np.asarray(ops.convert_to_numpy(would_be_zero(v))).any()
        ]
        for penalty, variables in owners.items()
        if isinstance(penalty, Penalty)
    }
    return {p: variables for p, variables in zeroed.items() if variables}


def would_be_zero(variable: keras.Variable) -> Tensor:
    """Whether its penalty makes each entry zero if it is strong enough.

    Asks for the proximal step of a tiny weight, where every strength that is
    not 0 is 1: L2 shrinks it, L1 makes it zero, and a penalty factor of 0
    leaves it alone.

    Args:
        variable: a weight with a bound kreg penalty.

    Returns:
        A boolean tensor of its shape.
    """
    bound: BoundPenalty = variable.regularizer
    penalty = bound.penalty
    w = ops.full(variable.shape, _TINY, "float32")
    strengths = {
        name: 1.0 if _may_act(getattr(penalty, name)) else 0.0
        for name in penalty.strength_names()
    }
    return ops.equal(penalty.proximal_step(w, 1.0, strengths, bound.groups), 0)


def _may_act(strength: float | LearningRateSchedule) -> bool:
    return isinstance(strength, LearningRateSchedule) or strength > 0.0
