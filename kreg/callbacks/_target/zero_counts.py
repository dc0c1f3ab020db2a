"""Counting exact zeros: the entries of weights, or the units of layers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping
from kreg.statistics.compilation import compiled
from kreg.statistics.measures import dead_groups
from kreg.statistics.rows import rows_of

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
    fed: dict[tuple[int, int], list[tuple[int, Grouping]]] = {}
    for row in rows_of(model):
        place = places.get(id(row.variable))
        if place is not None and row.units is not None:
            key = (row.layer, row.units.count)
            fed.setdefault(key, []).append((place, row.units))
    return [
        Countable(
            tuple(place for place, _ in kernels),
            tuple(groups for _, groups in kernels),
            count,
        )
        for (_, count), kernels in fed.items()
    ]


def counter(parts: Sequence[Sequence[Countable]]) -> Counter:
    """A function that counts the zeros of several parts.

    Args:
        parts: for each part, what is counted in it.

    Returns:
        A function of the values of all weights, in their order, that returns
        an int32 vector.
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
