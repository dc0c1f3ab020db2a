"""What is steered together, and what is counted for it."""

from dataclasses import dataclass

import keras

from kreg.callbacks._target._zero_counts import Countable, entries_of, units_of
from kreg.regularizers import Penalty
from kreg.statistics._paths import distinct_paths


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
