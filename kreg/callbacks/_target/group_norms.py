"""`GroupNorms`: how far the groups of tied weights are from zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.binding.ties import TiePart, tie_part
from kreg.callbacks._target.steered_weights import SteeredWeights
from kreg.regularizers import GroupLasso
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
        following: the norm of the smallest group that should stay.
        staying: the mean norm of the groups that should stay.
    """

    last: float
    following: float
    staying: float


class GroupNorms:
    """How far the groups of ties are from zero.

    Args:
        weights: the weights, all of which are tied.
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
        ties = _tied(chosen)

        def matrices(
            values: Sequence[Tensor],
        ) -> list[tuple[Tensor, Grouping]]:
            return [pair for tied in ties for pair in tied.groups(values)]

        def norms(values: Sequence[Tensor]) -> Tensor:
            return ops.concatenate(
                [
                    ops.reshape(group_norms(w, groups), (-1,))
                    / groups.size**0.5
                    for w, groups in matrices(values)
                ]
            )

        self._counts_units = any(
            c.groups is not None for c in weights.countables
        )
        self._total = weights.total
        self._wanted = self._target * weights.total
        self._shares = np.concatenate(
            [
                np.full(groups.count, 1 if self._counts_units else groups.size)
                for _, groups in matrices([v.value for v in chosen])
            ]
        )
        self._norms = compiled(norms, chosen)

    @property
    def are_what_is_counted(self) -> bool:
        """Whether the zeros counted are those of the groups."""
        return not self._counts_units or self._shares.sum() == self._total

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
        # At least one group stays, as nothing trains without any.
        number = int(np.argmin(np.abs(reached[:-1] - self._wanted)))
        staying = norms[order][number:]
        last = norms[order][number - 1] if number else 0.0
        return Nearest(float(last), float(staying[0]), float(staying.mean()))


def norms_of_ties(
    weights: SteeredWeights, variables: Sequence[keras.Variable], target: float
) -> GroupNorms | None:
    """The norms of groups that are tied across weights.

    Args:
        weights: the steered weights.
        variables: the list of all weights.
        target: the desired sparsity.

    Returns:
        None if some weights are not tied; if a penalty also makes single
        entries zero; or if units are counted that are not the groups.
    """
    if not all(type(p) is GroupLasso for p in weights.penalties):
        return None
    if any(tie_part(variables[i]) is None for i in weights.members):
        return None
    norms = GroupNorms(weights, variables, target)
    return norms if norms.are_what_is_counted else None


@dataclass(frozen=True)
class _Tied:
    """The weights of a tie.

    Args:
        positions: their positions in a list of values.
        parts: their parts of the tie.
    """

    positions: list[int]
    parts: list[TiePart]

    def groups(self, values: Sequence[Tensor]) -> list[tuple[Tensor, Grouping]]:
        """The tensors whose groups the tie has, with the groups of each."""
        w = [summable(values[position]) for position in self.positions]
        return self.parts[0].tie.groups(self.parts).joined(w)


def _tied(variables: Sequence[keras.Variable]) -> list[_Tied]:
    ties: dict[int, _Tied] = {}
    for position, variable in enumerate(variables):
        part = tie_part(variable)
        if part is not None:
            tied = ties.setdefault(id(part.tie), _Tied([], []))
            tied.positions.append(position)
            tied.parts.append(part)
    return list(ties.values())
