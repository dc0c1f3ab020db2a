"""Measures all weights of a model in one compiled pass."""

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
from kreg.optimizers.gradient_memory import (
    RememberedGradient,
    gradient_memory,
    gradient_scales,
    unclipped,
)
from kreg.statistics._batch_pass import COUNTS, FLOATS, measure
from kreg.statistics._ties_pass import MeasuredTie, TiesPass
from kreg.statistics.compilation import compiled, compiler, evaluated
from kreg.statistics.measures import WeightKind
from kreg.statistics.rows import Row


@dataclass(frozen=True)
class StrengthInputs:
    """The arrays from which the pass computes the strengths of all weights.

    Args:
        steps: for each weight, the iteration at which its schedule is read.
        multipliers: for each weight, the multiplier of its penalty.
        constants: for each weight, the strengths that follow no schedule.
    """

    steps: Tensor
    multipliers: Tensor
    constants: Tensor


class StrengthTable:
    """The strengths of the kreg penalty of each weight.

    Constant strengths are read before the pass. Schedules are evaluated inside
    the compiled pass, which is faster than in Python.

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

    def inputs(self, steps: Sequence[int]) -> StrengthInputs:
        """The inputs of the pass, as NumPy arrays.

        Args:
            steps: for each weight, the iteration of its optimizer.
        """
        multipliers = np.zeros(len(self._rows), "float32")
        constants = np.zeros((len(self._rows), self._width))
        for i, (row, names) in enumerate(
            zip(self._rows, self._names, strict=True)
        ):
            if row.strength_regularizer is None or row.suspended:
                continue
            if i in self._scheduled:
                multipliers[i] = row.strength_regularizer.multiplier
            else:
                values = row.strength_regularizer.strengths(0).values()
                constants[i, : len(names)] = [float(v) for v in values]
        return StrengthInputs(np.array(steps, "int32"), multipliers, constants)

    def of(self, batch: Sequence[int], inputs: StrengthInputs) -> Tensor:
        """The strengths of some weights, a row each; used inside the pass."""
        if self._scheduled.isdisjoint(batch):
            return ops.take(inputs.constants, np.array(batch, "int32"), axis=0)
        return ops.stack([self._row(i, inputs) for i in batch])

    def named(
        self, constants: NDArray[Any], computed: NDArray[Any]
    ) -> list[dict[str, float]]:
        """The strengths of each weight by name; used after the pass."""
        return [
            dict(
                zip(
                    names,
                    (computed if i in self._scheduled else constants)[
                        i
                    ].tolist(),
                    strict=False,
                )
            )
            for i, names in enumerate(self._names)
        ]

    def _row(self, i: int, inputs: StrengthInputs) -> Tensor:
        penalty = self._rows[i].strength_regularizer
        if penalty is None or i not in self._scheduled:
            return inputs.constants[i]
        strengths = penalty.strengths(inputs.steps[i], inputs.multipliers[i])
        dtype = inputs.constants.dtype
        values = [ops.cast(value, dtype) for value in strengths.values()]
        missing = self._width - len(values)
        return ops.stack(values + [ops.zeros_like(values[0])] * missing)


Kernel = Callable[..., tuple[Tensor, Tensor, Tensor | None]]
_STACKED = 32768
"""The size up to which weights of one kind are measured in one stack."""


@dataclass(frozen=True)
class Measurements:
    """The results of a pass; each list has an item for each weight.

    Args:
        measured: the measured numbers, by the names of figures.
        strengths: the strengths of the kreg penalty, by name.
        gradients: which gradient is known; see `WeightKind`.
        dead_units: for each layer with units, by its number, how many of them
            are dead in all of its kernels.
        ties: the ties among the weights.
    """

    measured: list[dict[str, Any]]
    strengths: list[dict[str, float]]
    gradients: list[str | None]
    dead_units: dict[int, int]
    ties: list[MeasuredTie]


class WeightsPass:
    """Measures some weights each time it is called.

    Args:
        rows: the weights, at least one.
        optimizers: for each weight, the optimizer that updates it, or None.
        threshold: the largest absolute value that counts as near zero.
        before: for each weight, a variable with its value before the last
            update. Defaults to `()`: unknown.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        optimizers: Sequence[keras.optimizers.Optimizer | None],
        threshold: float,
        before: Sequence[keras.Variable] = (),
    ) -> None:
        self._rows = rows
        self._memories = [
            gradient_memory(optimizer, row.variable)
            for optimizer, row in zip(optimizers, rows, strict=True)
        ]
        self._kinds = [
            _weight_kind(row, memory, threshold, has_before=bool(before))
            for row, memory in zip(rows, self._memories, strict=True)
        ]
        self._variables = [
            [
                row.variable,
                *before[i : i + 1],
                *([] if memory is None else memory.variables),
            ]
            for i, (row, memory) in enumerate(
                zip(rows, self._memories, strict=True)
            )
        ]
        self._strengths = StrengthTable(rows)
        self._ties = TiesPass(
            rows,
            [
                memory if kind.gradient == "data" else None
                for memory, kind in zip(
                    self._memories, self._kinds, strict=True
                )
            ],
        )
        self._batches = _batches(rows, self._kinds)
        # A recurrent cell has two kernels that feed the same units; depthwise
        # and pointwise kernels feed different units.
        kernels = Counter(_kernel_key(row) for row in rows if row.units)
        self._shared_units = [k for k, number in kernels.items() if number > 1]
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, steps: Sequence[int], *, repeated: bool) -> Measurements:
        """Measure the weights at their present values.

        Args:
            steps: for each weight, the iteration of its optimizer.
            repeated: whether it will be called again, so that compiling pays.
                Compiling takes seconds for a large model, and makes the pass
                many times faster.
        """
        scales = gradient_scales(self._memories)
        inputs = self._strengths.inputs(steps)
        arrays = self._function(repeated)(
            inputs.steps,
            inputs.multipliers,
            inputs.constants.astype("float32"),
            np.array([scale or 0.0 for scale in scales], "float32"),
        )
        order = np.argsort([i for batch in self._batches for i in batch])
        floats, counts, strengths, dead = map(ops.convert_to_numpy, arrays)
        measured = [
            dict(zip(FLOATS + COUNTS, [*of_floats, *of_counts], strict=True))
            for of_floats, of_counts in zip(
                floats[order].tolist(), counts[order].tolist(), strict=True
            )
        ]
        named = self._strengths.named(inputs.constants, strengths[order])
        return Measurements(
            measured,
            named,
            [
                None if scale is None else kind.gradient
                for kind, scale in zip(self._kinds, scales, strict=True)
            ],
            self._dead_units_by_layer(measured, dead),
            self._ties(named, scales, repeated=repeated),
        )

    def _function(self, repeated: bool) -> Callable[..., Any]:
        """The pass as a function, compiled if `repeated` or compiled before."""
        variables = [v for several in self._variables for v in several]
        # Without this, JAX would compile every operation on its own.
        if keras.backend.backend() == "jax":
            repeated = True
        if self._compiled is None and not repeated:
            compute = partial(self._compute, _uncompiled)
            return evaluated(compute, variables)
        if self._compiled is None:
            compute = partial(self._compute, _compiled_kernels())
            self._compiled = compiled(compute, variables)
        return self._compiled

    def _compute(
        self,
        kernel_for: Callable[[WeightKind, Tensor], Kernel],
        values: Sequence[Tensor],
        steps: Tensor,
        multipliers: Tensor,
        constants: Tensor,
        scales: Tensor,
    ) -> tuple[Tensor, ...]:
        """Measure all weights, batch by batch, inside the compiled pass.

        Returns:
            Floats and counts as `measure` returns them, the strengths, and the
            numbers of dead units where several kernels share their units.
        """
        inputs = StrengthInputs(steps, multipliers, constants)
        rest = iter(values)
        arrays = [
            _with_one_gradient([next(rest) for _ in several], memory)
            for several, memory in zip(
                self._variables, self._memories, strict=True
            )
        ]
        floats, counts, strengths = [], [], []
        dead: dict[Any, list[Tensor]] = {k: [] for k in self._shared_units}
        for batch in self._batches:
            stacked = [
                ops.stack(several)
                for several in zip(*(arrays[i] for i in batch), strict=True)
            ]
            strengths.append(self._strengths.of(batch, inputs))
            kernel = kernel_for(self._kinds[batch[0]], stacked[0])
            of_floats, of_counts, units = kernel(
                stacked,
                ops.take(scales, np.array(batch, "int32")),
                strengths[-1],
            )
            floats.append(of_floats)
            counts.append(of_counts)
            for k, i in enumerate(batch):
                key = _kernel_key(self._rows[i])
                if units is not None and key in self._shared_units:
                    dead[key].append(units[k])
        dtype = keras.backend.result_type(*(f.dtype for f in floats))
        return (
            ops.concatenate([ops.cast(f, dtype) for f in floats]),
            ops.concatenate(counts),
            ops.concatenate(strengths),
            # Start with a 0, because XLA fails on an empty array.
            ops.stack(
                [ops.zeros((), "int32")]
                + [_count_dead_in_all(masks) for masks in dead.values()]
            ),
        )

    def _dead_units_by_layer(
        self, measured: Sequence[dict[str, Any]], dead: NDArray[Any]
    ) -> dict[int, int]:
        """The number of dead units of each layer."""
        dead_by_kernel: dict[Any, int] = {
            _kernel_key(row): numbers["dead_units"]
            for row, numbers in zip(self._rows, measured, strict=True)
            if row.units is not None
        }
        dead_by_kernel.update(
            zip(self._shared_units, dead[1:].tolist(), strict=True)
        )
        by_layer: dict[int, int] = {}
        for (layer, _), number in dead_by_kernel.items():
            by_layer[layer] = by_layer.get(layer, 0) + number
        return by_layer


def _uncompiled(kind: WeightKind, w: Tensor) -> Kernel:
    return partial(measure, kind)


def _compiled_kernels() -> Callable[[WeightKind, Tensor], Kernel]:
    """A function from a kind of weights to its compiled `measure`."""
    module = compiler()
    if module is None:
        return _uncompiled
    kernels: dict[Any, Kernel] = {}

    def kernel_for(kind: WeightKind, w: Tensor) -> Kernel:
        key = (kind.key, tuple(w.shape), w.dtype)
        if key not in kernels:
            kernels[key] = module.blocked(partial(measure, kind), w)
        return kernels[key]

    return kernel_for


def _weight_kind(
    row: Row,
    memory: RememberedGradient | None,
    threshold: float,
    *,
    has_before: bool,
) -> WeightKind:
    penalty = row.penalty if row.is_penalized else None
    of_data = memory is not None and (memory.of_data or not row.is_penalized)
    return WeightKind(
        penalty=penalty,
        groups=penalty.grouping(row.shape, row.layout) if penalty else None,
        units=row.units,
        inputs=row.inputs,
        threshold=threshold,
        has_before=has_before,
        gradient=None if memory is None else "data" if of_data else "total",
    )


def _with_one_gradient(
    values: list[Tensor], memory: RememberedGradient | None
) -> list[Tensor]:
    """The values of a weight's variables, the last ones as a gradient."""
    if memory is None:
        return values
    start = len(values) - len(memory.variables)
    return [*values[:start], unclipped(*values[start:])]


def _batches(
    rows: Sequence[Row], kinds: Sequence[WeightKind]
) -> list[list[int]]:
    """The indices of weights to measure together.

    Small weights of one kind and shape form a batch; a large weight forms its
    own.
    """
    batches: dict[Any, list[int]] = {}
    for i, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        alone = i if row.size > _STACKED else None
        key = (kind.key, row.shape, row.variable.dtype, alone)
        batches.setdefault(key, []).append(i)
    return list(batches.values())


def _kernel_key(row: Row) -> tuple[int, int] | None:
    """A key that is equal for kernels that may feed the same units."""
    return None if row.units is None else (row.layer, row.units.count)


def _count_dead_in_all(masks: Sequence[Tensor]) -> Tensor:
    dead = masks[0]
    for mask in masks[1:]:
        dead = ops.logical_and(dead, mask)
    return ops.sum(ops.cast(dead, "int32"))
