"""Counts exact zeros among the entries of weights, or dead units of layers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.binding.ties import TiePart
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.tied_groups import TiedGroups
from kreg.statistics.compilation import compiled
from kreg.statistics.measures import dead_in_all
from kreg.statistics.rows import rows_of

Counter = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Countable:
    """Entries of a weight, or units of a layer or a tie, to be counted.

    Args:
        members: the indices of the weights in the list of all weights. A unit
            is dead if it is dead in every one of them.
        groups: for units of a layer, the grouping of each member's entries by
            unit; for a tie, its groups; None to count entries.
        count: the number of entries or units.
    """

    members: tuple[int, ...]
    groups: tuple[Grouping, ...] | TiedGroups | None
    count: int

    def zeros(self, values: Sequence[Tensor]) -> Tensor:
        """The number of zero entries or dead units, a scalar int32 tensor."""
        if self.groups is None:
            return _count(ops.equal(values[self.members[0]], 0))
        weights = [values[i] for i in self.members]
        if isinstance(self.groups, TiedGroups):
            return self.groups.dead(weights)
        return dead_in_all(weights, self.groups)


def entries_of(
    variables: Sequence[keras.Variable], members: Iterable[int]
) -> list[Countable]:
    """The entries of each of the weights `variables[i] for i in members`."""
    return [
        Countable((i,), None, int(np.prod(variables[i].shape, dtype=int)))
        for i in members
    ]


def units_of(
    model: keras.Model,
    variables: Sequence[keras.Variable],
    members: Iterable[int],
) -> list[Countable]:
    """The units that the weights `variables[i] for i in members` feed.

    They are listed layer by layer. A bias belongs to units but does not feed
    them. The two kernels of a recurrent cell feed the same units. The units of
    a tie are its groups.
    """
    indices = {id(variables[i]): i for i in members}
    fed: dict[tuple[int, int], list[tuple[int, Grouping]]] = {}
    tied: dict[int, list[tuple[int, TiePart]]] = {}
    for row in rows_of(model):
        index = indices.get(id(row.variable))
        if index is None:
            continue
        if row.part is not None:
            tied.setdefault(id(row.part.tie), []).append((index, row.part))
        elif row.units is not None:
            key = (row.layer, row.units.count)
            fed.setdefault(key, []).append((index, row.units))
    countables = [
        Countable(
            tuple(index for index, _ in kernels),
            tuple(groups for _, groups in kernels),
            count,
        )
        for (_, count), kernels in fed.items()
    ]
    for members_of_tie in tied.values():
        parts = [part for _, part in members_of_tie]
        groups = parts[0].tie.groups(parts)
        countables.append(
            Countable(
                tuple(index for index, _ in members_of_tie),
                groups,
                groups.count,
            )
        )
    return countables


def zero_counter(parts: Sequence[Sequence[Countable]]) -> Counter:
    """Make a function that counts the zeros in several parts of a model.

    Args:
        parts: for each part, the entries or units to count in it.

    Returns:
        A function that takes the values of all weights, in order, and returns
        an int32 vector with a count for each part.
    """

    def counts(values: Sequence[Tensor]) -> Tensor:
        return ops.stack(
            [sum(c.zeros(values) for c in countables) for countables in parts]
        )

    return counts


def current_counter(
    count: Counter, variables: Sequence[keras.Variable]
) -> Callable[[], NDArray[np.int32]]:
    """Make a function that counts zeros in the present `variables`."""
    compute = compiled(count, variables)
    return lambda: np.asarray(ops.convert_to_numpy(compute()))


def _count(mask: Tensor) -> Tensor:
    return ops.sum(ops.cast(mask, "int32"))
