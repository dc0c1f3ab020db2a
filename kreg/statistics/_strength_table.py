"""The strengths of all weights, as a matrix that a compiled pass reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.binding._bound_penalty import governing_step
from kreg.statistics._rows import Row


class StrengthTable:
    """A row for each weight, with the strengths of its kreg penalty.

    Strengths that are numbers are known before the pass; those that follow a
    schedule are computed in it, so that they cost no Python.

    Args:
        rows: the weights.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._names = [
            () if row.penalty is None else row.penalty.strength_names()
            for row in rows
        ]
        self._scheduled = {
            i
            for i, row in enumerate(rows)
            if row.penalty is not None and row.penalty.is_scheduled
        }
        self._width = max([1, *map(len, self._names)])

    def numbers(self, step: int) -> tuple[NDArray[Any], ...]:
        """What the pass must be given: steps, multipliers, known strengths.

        Args:
            step: the iteration of the model's optimizer.
        """
        steps = np.zeros(len(self._rows), "int32")
        multipliers = np.zeros(len(self._rows), "float32")
        known = np.zeros((len(self._rows), self._width))
        for i, (row, names) in enumerate(
            zip(self._rows, self._names, strict=True)
        ):
            if row.penalty is None or row.suspended:
                continue
            if i in self._scheduled:
                governing = governing_step(row.variable, step)
                steps[i] = ops.convert_to_numpy(governing)
                multipliers[i] = row.penalty.multiplier
            else:
                values = row.penalty.strengths(0).values()
                known[i, : len(names)] = [float(value) for value in values]
        return steps, multipliers, known

    def of(
        self,
        batch: Sequence[int],
        steps: Tensor,
        multipliers: Tensor,
        known: Tensor,
    ) -> Tensor:
        """The rows of some weights, inside the pass."""
        if self._scheduled.isdisjoint(batch):
            return ops.take(known, np.array(batch, "int32"), axis=0)
        return ops.stack(
            [self._row(i, steps, multipliers, known) for i in batch]
        )

    def named(
        self, known: NDArray[Any], computed: NDArray[Any]
    ) -> list[dict[str, float]]:
        """The strengths of each weight by name, after the pass."""
        return [
            dict(
                zip(
                    names,
                    (computed if i in self._scheduled else known)[i].tolist(),
                    strict=False,
                )
            )
            for i, names in enumerate(self._names)
        ]

    def _row(
        self, i: int, steps: Tensor, multipliers: Tensor, known: Tensor
    ) -> Tensor:
        penalty = self._rows[i].penalty
        if penalty is None or i not in self._scheduled:
            return known[i]
        found = penalty.strengths(steps[i], multipliers[i])
        values = [ops.cast(value, known.dtype) for value in found.values()]
        missing = self._width - len(values)
        return ops.stack(values + [ops.zeros_like(values[0])] * missing)
