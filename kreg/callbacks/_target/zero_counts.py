"""What is counted for a target, and which penalties it is counted for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import is_suspended
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Grouping
from kreg.statistics.compilation import compiled
from kreg.statistics.measures import dead_groups
from kreg.statistics.rows import distinct_paths, rows_of

Counter = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Countable:
    """What is counted as one thing: entries, or the units of a layer.

    Args:
        members: the places of the weights in a list of all. A unit is dead
            if it is in every one of them.
        groups: the entries of a unit, for each member; None for entries.
        count: how many entries or units there are.
    """

    members: tuple[int, ...]
    groups: tuple[Grouping, ...] | None
    count: int

    def zeros(self, values: Sequence[Tensor]) -> Tensor:
        """How many of them are zero, a scalar int32 tensor."""
        if self.groups is None:
            return _count(ops.equal(values[self.members[0]], 0))
        dead = [
            dead_groups(ops.expand_dims(values[member], 0), groups)[0]
            for member, groups in zip(self.members, self.groups, strict=True)
        ]
        together = dead[0]
        for other in dead[1:]:
            together = ops.logical_and(together, other)
        return _count(together)


def entries_of(
    variables: Sequence[keras.Variable], members: Iterable[int]
) -> list[Countable]:
    """The entries of each weight at the places `members` of `variables`."""
    return [
        Countable((i,), None, int(np.prod(variables[i].shape, dtype=int)))
        for i in members
    ]


def units_of(
    model: keras.Model,
    variables: Sequence[keras.Variable],
    members: Iterable[int],
) -> list[Countable]:
    """The units that the weights at `members` feed, layer by layer.

    A bias belongs to units but does not feed them. A recurrent cell has two
    kernels for the same units.
    """
    places = {id(variables[i]): i for i in members}
    found: dict[tuple[int, int], list[tuple[int, Grouping]]] = {}
    for row in rows_of(model):
        place = places.get(id(row.variable))
        if place is not None and row.units is not None:
            key = (row.layer, row.units.count)
            found.setdefault(key, []).append((place, row.units))
    return [
        Countable(
            tuple(place for place, _ in fed),
            tuple(groups for _, groups in fed),
            count,
        )
        for (_, count), fed in found.items()
    ]


def counter(parts: Sequence[Sequence[Countable]]) -> Counter:
    """What counts the zeros of each part, an int32 vector.

    Args:
        parts: for each number wanted, what counts towards it.

    Returns:
        A function of the values of all weights, in their order.
    """

    def counts(values: Sequence[Tensor]) -> Tensor:
        return ops.stack(
            [sum(c.zeros(values) for c in countables) for countables in parts]
        )

    return counts


def counting(
    count: Counter, variables: Sequence[keras.Variable]
) -> Callable[[], NDArray[np.int32]]:
    """A function that counts in `variables` as they are when it is called."""
    compute = compiled(count, variables)
    return lambda: np.asarray(ops.convert_to_numpy(compute()))


def _count(mask: Tensor) -> Tensor:
    return ops.sum(ops.cast(mask, "int32"))


@dataclass(frozen=True)
class Share:
    """The penalties that move together, and what they act on.

    Args:
        name: what is counted, for messages.
        penalties: the penalties.
        members: the places of their weights in the list of all.
        countables: what is counted in those.
    """

    name: str
    penalties: tuple[Penalty, ...]
    members: tuple[int, ...]
    countables: tuple[Countable, ...]

    @property
    def total(self) -> int:
        """How many entries or units there are."""
        return sum(countable.count for countable in self.countables)


def shares_of(
    model: keras.Model,
    owners: dict[Penalty, list[keras.Variable]],
    *,
    units: bool,
    per_layer: bool,
) -> tuple[list[keras.Variable], list[Share]]:
    """All weights that are looked at, and the shares that they fall into.

    Args:
        model: the model.
        owners: the penalties, with the weights that each acts on.
        units: whether units are counted; then only weights that feed units
            count, and only their penalties are steered.
        per_layer: whether each penalty is a share of its own.
    """
    if units:
        owners = _feeding_units(model, owners)
    variables = [v for owned in owners.values() for v in owned]
    places = {id(variable): i for i, variable in enumerate(variables)}
    paths = distinct_paths(variables)
    together = [[p] for p in owners] if per_layer else [list(owners)]
    shares = []
    for penalties in together if owners else []:
        members = [places[id(v)] for p in penalties for v in owners[p]]
        countables = (
            units_of(model, variables, members)
            if units
            else entries_of(variables, members)
        )
        name = paths[members[0]] if per_layer else model.name
        shares.append(
            Share(name, tuple(penalties), tuple(members), tuple(countables))
        )
    return variables, shares


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
    owners: dict[Penalty, list[keras.Variable]],
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
