"""`GroupNorms`: how far the groups of some weights are from zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.ties import TiePart, tie_part
from kreg.callbacks._target.steered_weights import SteeredWeights
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import group_norms, summable
from kreg.statistics.compilation import compiled


class Nearest(NamedTuple):
    """The groups around the target, if the smallest become zero first.

    A norm is the root mean square of the entries of a group, so that groups of
    different sizes can be compared.

    Args:
        last: the norm of the group with which the sparsity comes nearest to the
            target; 0 if it is zero already.
        following: the norm of the smallest group that should stay; infinite if
            none should.
        staying: the mean norm of the groups that should stay.
    """

    last: float
    following: float
    staying: float


class GroupNorms:
    """How far the groups are from zero that become zero as a whole.

    Args:
        weights: the weights, whose penalties act on groups.
        variables: the list of all weights.
        target: the desired sparsity.
    """

    def __init__(
        self,
        weights: SteeredWeights,
        variables: Sequence[keras.Variable],
        target: float,
    ) -> None:
        self._variables = variables
        self._target = target
        self.choose(weights)

    def choose(self, weights: SteeredWeights) -> None:
        """Measure the groups of these weights from now on."""
        chosen = [self._variables[i] for i in weights.members]
        sources = _sources(chosen)

        def matrices(values: Sequence[Tensor]) -> list[_Groups]:
            return [pair for source in sources for pair in source.read(values)]

        def norms(values: Sequence[Tensor]) -> Tensor:
            return ops.concatenate(
                [
                    ops.reshape(group_norms(w, groups), (-1,))
                    / groups.size**0.5
                    for w, groups in matrices(values)
                ]
            )

        counts_units = any(c.groups is not None for c in weights.countables)
        self._wanted = self._target * weights.total
        self._shares = np.concatenate(
            [
                np.full(groups.count, 1 if counts_units else groups.size)
                for _, groups in matrices([v.value for v in chosen])
            ]
        )
        self._norms = compiled(norms, chosen)

    @property
    def largest(self) -> int:
        """The number of entries, or units, of the largest group."""
        return int(self._shares.max())

    def nearest(self) -> Nearest:
        """The norms of the groups around the target."""
        norms = np.asarray(ops.convert_to_numpy(self._norms()), np.float64)
        norms = np.nan_to_num(norms, nan=np.inf)
        order = np.argsort(norms, kind="stable")
        reached = np.concatenate([[0], np.cumsum(self._shares[order])])
        number = int(np.argmin(np.abs(reached - self._wanted)))
        staying = norms[order][number:]
        last = norms[order][number - 1] if number else 0.0
        if not staying.size:
            return Nearest(float(last), np.inf, np.inf)
        return Nearest(float(last), float(staying[0]), float(staying.mean()))


def are_grouped(
    weights: SteeredWeights, variables: Sequence[keras.Variable]
) -> bool:
    """Whether all penalties make groups zero as a whole.

    Penalties that also make single entries zero count too.
    """
    return all(
        tie_part(variables[i]) is not None
        or _has_groups(variables[i].regularizer)
        for i in weights.members
    )


def _has_groups(bound: BoundPenalty) -> bool:
    return bound.groups is not None and bound.groups.size > 1


_Groups = tuple[Tensor, Grouping]


@dataclass(frozen=True)
class _Source:
    """Weights that have groups in common.

    Args:
        positions: their positions in a list of values.
        parts: their parts of a tie; empty for a single weight.
        groups: the groups of a single weight; else None.
    """

    positions: list[int]
    parts: list[TiePart]
    groups: Any

    def read(self, values: Sequence[Tensor]) -> list[_Groups]:
        w = [summable(values[position]) for position in self.positions]
        if not self.parts:
            return [(w[0], self.groups)]
        return self.parts[0].tie.groups(self.parts).joined(w)


def _sources(variables: Sequence[keras.Variable]) -> list[_Source]:
    sources: dict[int, _Source] = {}
    for position, variable in enumerate(variables):
        part = tie_part(variable)
        if part is None:
            groups = variable.regularizer.groups
            sources[id(variable)] = _Source([position], [], groups)
            continue
        source = sources.setdefault(id(part.tie), _Source([], [], None))
        source.positions.append(position)
        source.parts.append(part)
    return list(sources.values())
