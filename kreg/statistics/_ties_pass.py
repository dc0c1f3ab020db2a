"""Measures the penalties and the zero groups of a model's ties in one pass."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.binding.ties import Tie
from kreg.optimizers.gradient_memory import RememberedGradient, unclipped
from kreg.regularizers.norms import summable
from kreg.regularizers.tied_groups import TiedGroups
from kreg.statistics.compilation import compiled, evaluated
from kreg.statistics.rows import Row


@dataclass(frozen=True)
class MeasuredTie:
    """The measurements of a tie.

    Args:
        tie: the tie.
        members: the indices of its weights in the list of rows.
        acting: the indices of the weights that the penalty acts on.
        penalty: the value of the penalty.
        dead: the number of its groups that are zero in all of its weights.
        residuals: the squared optimality residual of each acting weight; empty
            if a gradient is unknown.
    """

    tie: Tie
    members: tuple[int, ...]
    acting: tuple[int, ...]
    penalty: float
    dead: int
    residuals: tuple[float, ...]

    def spread(
        self, measured: Sequence[dict[str, Any]], penalties: list[float]
    ) -> None:
        """Assign to each weight its part of the penalty, and its residual.

        Args:
            measured: the measured numbers of each weight.
            penalties: the penalty of each weight.
        """
        # The pass measures `l2_norm` as a sum of squares, without the root.
        squares = [measured[i]["l2_norm"] for i in self.acting]
        whole = math.fsum(squares)
        for i, square in zip(self.acting, squares, strict=True):
            penalties[i] = self.penalty * square / whole if whole else 0.0
        for i, residual in zip(self.acting, self.residuals, strict=False):
            measured[i]["optimality"] = residual


class TiesPass:
    """Measures the ties among some weights each time it is called.

    Args:
        rows: the weights.
        memories: for each weight, the optimizer's average of the gradients of
            the data loss alone, or None.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        memories: Sequence[RememberedGradient | None],
    ) -> None:
        members: dict[int, list[int]] = {}
        ties: dict[int, Tie] = {}
        for i, row in enumerate(rows):
            if row.part is not None:
                ties[id(row.part.tie)] = row.part.tie
                members.setdefault(id(row.part.tie), []).append(i)
        self._rows = rows
        self._memories = memories
        self._ties = list(ties.values())
        self._members = [tuple(members[key]) for key in ties]
        self._acting = [
            tuple(i for i in of_tie if rows[i].is_penalized)
            for of_tie in self._members
        ]
        self._compiled: Callable[..., Any] | None = None

    def __call__(
        self,
        strengths: Sequence[Mapping[str, float]],
        scales: Sequence[float | None],
        *,
        repeated: bool,
    ) -> list[MeasuredTie]:
        """Measure the ties at the present weights.

        Args:
            strengths: for each weight, the strengths of its penalty.
            scales: for each weight, the factor that turns its memory into a
                gradient, or None.
            repeated: whether it will be called again, so that compiling pays.
        """
        if not self._ties:
            return []
        names = [tie.penalty.strength_names() for tie in self._ties]
        numbers = np.zeros((len(self._ties), max(map(len, names))), "float32")
        for i, of_tie in enumerate(names):
            for member in self._acting[i][:1]:
                numbers[i, : len(of_tie)] = [
                    strengths[member][name] for name in of_tie
                ]
        results = iter(
            ops.convert_to_numpy(
                self._function(repeated)(
                    numbers,
                    np.array([scale or 0.0 for scale in scales], "float32"),
                )
            ).tolist()
        )
        measured = []
        for tie, members, acting in zip(
            self._ties, self._members, self._acting, strict=True
        ):
            penalty, dead = next(results), int(next(results))
            residuals = tuple(
                next(results) for _ in acting if self._has_gradients(acting)
            )
            if any(scales[i] is None for i in acting):
                residuals = ()
            measured.append(
                MeasuredTie(tie, members, acting, penalty, dead, residuals)
            )
        return measured

    def _has_gradients(self, acting: Sequence[int]) -> bool:
        return all(self._memories[i] is not None for i in acting)

    def _function(self, repeated: bool) -> Callable[..., Any]:
        variables: list[keras.Variable] = []
        for members in self._members:
            for i in members:
                memory = self._memories[i]
                variables.append(self._rows[i].variable)
                variables += [] if memory is None else memory.variables
        # Without this, JAX would compile every operation on its own.
        if keras.backend.backend() == "jax":
            repeated = True
        if self._compiled is None and repeated:
            self._compiled = compiled(self._compute, variables)
        return self._compiled or evaluated(self._compute, variables)

    def _compute(
        self, values: Sequence[Tensor], strengths: Tensor, scales: Tensor
    ) -> Tensor:
        """The numbers of all ties as a vector, in the order of `__call__`."""
        rest, numbers = iter(values), []
        for i, members in enumerate(self._members):
            weights, gradients = {}, {}
            for member in members:
                weights[member] = summable(next(rest))
                memory = self._memories[member]
                if memory is not None:
                    remembered = [
                        summable(next(rest)) for _ in memory.variables
                    ]
                    gradients[member] = scales[member] * unclipped(*remembered)
            numbers += self._numbers(i, weights, gradients, strengths[i])
        return ops.stack([ops.cast(number, "float32") for number in numbers])

    def _numbers(
        self,
        i: int,
        weights: Mapping[int, Tensor],
        gradients: Mapping[int, Tensor],
        strengths: Tensor,
    ) -> list[Tensor]:
        """The penalty, the number of dead groups and the residuals of a tie."""
        penalty, acting = self._ties[i].penalty, self._acting[i]
        names = penalty.strength_names()
        named = {name: strengths[j] for j, name in enumerate(names)}
        dead = self._groups(i, weights).dead(list(weights.values()))
        if not acting:
            return [ops.zeros(()), dead]
        w, groups = [weights[j] for j in acting], self._groups(i, acting)
        numbers = [groups.value(penalty, w, named), dead]
        if self._has_gradients(acting):
            step = min(1.0, penalty.longest_step / 2.0)
            moved = [
                x - step * ops.cast(gradients[j], x.dtype)
                for j, x in zip(acting, w, strict=True)
            ]
            after = groups.proximal_step(penalty, moved, step, named)
            numbers += [
                ops.sum(ops.square((x - y) / step))
                for x, y in zip(w, after, strict=True)
            ]
        return numbers

    def _groups(self, i: int, members: Iterable[int]) -> TiedGroups:
        parts = [self._rows[j].part for j in members]
        return self._ties[i].groups([part for part in parts if part])
