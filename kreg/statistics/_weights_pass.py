"""One pass over all the weights of a model."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.binding.binding import step_of_penalty
from kreg.optimizers.gradient_memory import RememberedGradient, gradient_memory
from kreg.statistics.compilation import compiled, compiler, evaluated
from kreg.statistics.figures import WeightFigures
from kreg.statistics.rows import Row


class StrengthTable:
    """A row for each weight, with the strengths of its regularizer of kreg.

    Strengths that are numbers are known before the pass; those that follow a
    schedule are computed in it, so that they cost no Python.

    Args:
        rows: the weights.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._names = [
            ()
            if row.strength_regularizer is None
            else row.strength_regularizer.strength_names()
            for row in rows
        ]
        self._scheduled = {
            i
            for i, row in enumerate(rows)
            if row.strength_regularizer is not None
            and row.strength_regularizer.is_scheduled
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
            if row.strength_regularizer is None or row.suspended:
                continue
            if i in self._scheduled:
                step_now = step_of_penalty(row.variable, step)
                steps[i] = ops.convert_to_numpy(step_now)
                multipliers[i] = row.strength_regularizer.multiplier
            else:
                values = row.strength_regularizer.strengths(0).values()
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
        penalty = self._rows[i].strength_regularizer
        if penalty is None or i not in self._scheduled:
            return known[i]
        found = penalty.strengths(steps[i], multipliers[i])
        values = [ops.cast(value, known.dtype) for value in found.values()]
        missing = self._width - len(values)
        return ops.stack(values + [ops.zeros_like(values[0])] * missing)


Kernel = Callable[..., tuple[Tensor, Tensor, Tensor | None]]
_STACKED = 32768
"""The largest weights that are computed together with others of their kind."""


@dataclass(frozen=True)
class Figures:
    """What a pass found, with an entry or a row for each weight.

    Args:
        floats: as `WeightFigures` gives them.
        counts: as `WeightFigures` gives them.
        strengths: those of each kreg penalty by name.
        gradients: what is known of each gradient.
        dead_units: of each layer with units, by its number, how many are left
            without a weight that is not zero by all of its kernels.
    """

    floats: NDArray[Any]
    counts: NDArray[Any]
    strengths: list[dict[str, float]]
    gradients: list[str | None]
    dead_units: dict[int, int]


class WeightsPass:
    """The computation of the figures of some weights, to be run many times.

    Args:
        rows: the weights, one at least.
        optimizer: the optimizer that updates them, or None.
        threshold: the largest size that counts as near zero.
        before: for each weight, a variable that holds what it was before its
            last update. Defaults to none.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        optimizer: keras.optimizers.Optimizer | None,
        threshold: float,
        before: Sequence[keras.Variable] = (),
    ) -> None:
        self._rows = rows
        self._memories = [gradient_memory(optimizer, r.variable) for r in rows]
        self._figures = [
            _figures(row, memory, threshold, bool(before))
            for row, memory in zip(rows, self._memories, strict=True)
        ]
        self._variables = [
            [
                row.variable,
                *before[i : i + 1],
                *([] if memory is None else [memory.slot]),
            ]
            for i, (row, memory) in enumerate(
                zip(rows, self._memories, strict=True)
            )
        ]
        self._strengths = StrengthTable(rows)
        self._batches = _batches(rows, self._figures)
        # A recurrent cell has two kernels for the same units; depthwise and
        # pointwise kernels feed different ones.
        kernels = Counter(_kernel_key(row) for row in rows if row.units)
        self._shared_units = [k for k, number in kernels.items() if number > 1]
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, step: int, *, repeated: bool) -> Figures:
        """Read the weights.

        Args:
            step: the iteration of the model's optimizer.
            repeated: whether it will be done again, so that it pays to compile
                the pass: seconds for a large model, many times faster then.
        """
        scales = _scales(self._memories)
        steps, multipliers, known = self._strengths.numbers(step)
        numbers = (
            steps,
            multipliers,
            known.astype("float32"),
            np.array([scale or 0.0 for scale in scales], "float32"),
        )
        found = self._function(repeated)(*numbers)
        order = np.argsort([i for batch in self._batches for i in batch])
        floats, counts, strengths, dead = map(ops.convert_to_numpy, found)
        return Figures(
            floats[order],
            counts[order],
            self._strengths.named(known, strengths[order]),
            [
                None if scale is None else figures.gradient
                for figures, scale in zip(self._figures, scales, strict=True)
            ],
            self._by_layer(counts[order], dead),
        )

    def _function(self, wanted: bool) -> Callable[..., Any]:
        """The pass, compiled if that is wanted or was done before."""
        variables = [v for several in self._variables for v in several]
        # JAX compiles every operation by itself where it does not all at once.
        if keras.backend.backend() == "jax":
            wanted = True
        if self._compiled is None and not wanted:
            compute = partial(self._compute, lambda figures, w: figures)
            return evaluated(compute, variables)
        if self._compiled is None:
            compute = partial(self._compute, _kernels())
            self._compiled = compiled(compute, variables)
        return self._compiled

    def _compute(
        self,
        kernel: Callable[[WeightFigures, Tensor], Kernel],
        values: Sequence[Tensor],
        steps: Tensor,
        multipliers: Tensor,
        known: Tensor,
        scales: Tensor,
    ) -> tuple[Tensor, ...]:
        """The figures of all weights, batch by batch, as four arrays."""
        rest = iter(values)
        arrays = [[next(rest) for _ in several] for several in self._variables]
        floats, counts, strengths = [], [], []
        dead: dict[Any, list[Tensor]] = {k: [] for k in self._shared_units}
        for batch in self._batches:
            figures = self._figures[batch[0]]
            given = [
                ops.stack(several)
                for several in zip(*(arrays[i] for i in batch), strict=True)
            ]
            table = self._strengths.of(batch, steps, multipliers, known)
            strengths.append(table)
            compute = kernel(figures, given[0])
            found, counted, units = compute(
                given, ops.take(scales, np.array(batch, "int32")), table
            )
            floats.append(found)
            counts.append(counted)
            for k, i in enumerate(batch):
                key = _kernel_key(self._rows[i])
                if units is not None and key in self._shared_units:
                    dead[key].append(units[k])
        dtype = keras.backend.result_type(*(f.dtype for f in floats))
        return (
            ops.concatenate([ops.cast(f, dtype) for f in floats]),
            ops.concatenate(counts),
            ops.concatenate(strengths),
            # No empty array, over which XLA stumbles.
            ops.stack(
                [ops.zeros((), "int32")]
                + [_number_dead_in_all(masks) for masks in dead.values()]
            ),
        )

    def _by_layer(
        self, counts: NDArray[Any], dead: NDArray[Any]
    ) -> dict[int, int]:
        """How many units of each layer are dead."""
        dead_of: dict[Any, int] = {
            _kernel_key(row): int(counts[i, -1])
            for i, row in enumerate(self._rows)
            if row.units is not None
        }
        dead_of.update(zip(self._shared_units, dead[1:].tolist(), strict=True))
        found: dict[int, int] = {}
        for (layer, _), number in dead_of.items():
            found[layer] = found.get(layer, 0) + number
        return found


def _kernels() -> Callable[[WeightFigures, Tensor], Kernel]:
    """What computes weights of a kind, compiled once for all of them."""
    module = compiler()
    kernels: dict[Any, Kernel] = {}

    def kernel(figures: WeightFigures, w: Tensor) -> Kernel:
        if module is None:
            return figures
        key = (figures.key, tuple(w.shape), w.dtype)
        if key not in kernels:
            kernels[key] = module.blocked(figures, w)
        return kernels[key]

    return kernel


def _figures(
    row: Row, memory: RememberedGradient | None, threshold: float, moved: bool
) -> WeightFigures:
    penalty = row.penalty if row.is_penalized else None
    of_data = memory is not None and (memory.of_data or not row.is_penalized)
    return WeightFigures(
        penalty,
        penalty.grouping(row.shape, row.layout) if penalty else None,
        row.units,
        row.inputs,
        threshold,
        moved,
        None if memory is None else "data" if of_data else "total",
    )


def _batches(
    rows: Sequence[Row], figures: Sequence[WeightFigures]
) -> list[list[int]]:
    """Weights whose figures are computed together: small ones of one kind."""
    batches: dict[Any, list[int]] = {}
    for i, (row, of_row) in enumerate(zip(rows, figures, strict=True)):
        alone = i if row.size > _STACKED else None
        key = (of_row.key, row.shape, row.variable.dtype, alone)
        batches.setdefault(key, []).append(i)
    return list(batches.values())


def _kernel_key(row: Row) -> tuple[int, int] | None:
    """Equal for kernels that may feed the same units."""
    return None if row.units is None else (row.layer, row.units.count)


def _number_dead_in_all(masks: Sequence[Tensor]) -> Tensor:
    dead = masks[0]
    for mask in masks[1:]:
        dead = ops.logical_and(dead, mask)
    return ops.sum(ops.cast(dead, "int32"))


def _scales(
    memories: Sequence[RememberedGradient | None],
) -> list[float | None]:
    """What each memory must be multiplied by, asked once an optimizer."""
    found = {
        id(m.optimizer): m.scale(m.optimizer)
        for m in {id(m.optimizer): m for m in memories if m}.values()
    }
    return [None if m is None else found[id(m.optimizer)] for m in memories]
