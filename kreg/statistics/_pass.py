"""One pass over all the weights of a model."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.binding._bound_penalty import governing_step
from kreg.optimizers._gradient_memory import GradientMemory, gradient_memory
from kreg.statistics._rows import Row
from kreg.statistics._weight_figures import WeightFigures

Kernel = Callable[..., tuple[Tensor, Tensor, Tensor | None]]


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
        rows: the weights.
        optimizer: the optimizer that updates them, or None.
        threshold: the largest size that counts as near zero.
        before: for each weight, a variable that holds what it was before its
            last update. Defaults to `None`: not known.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        optimizer: keras.optimizers.Optimizer | None,
        threshold: float,
        before: Sequence[keras.Variable] | None = None,
    ) -> None:
        self._rows = rows
        self._memories = [gradient_memory(optimizer, r.variable) for r in rows]
        self._figures = [
            _figures(row, memory, threshold, before is not None)
            for row, memory in zip(rows, self._memories, strict=True)
        ]
        self._variables = [
            [
                row.variable,
                *([] if before is None else [before[i]]),
                *([] if memory is None else [memory.slot]),
            ]
            for i, (row, memory) in enumerate(
                zip(rows, self._memories, strict=True)
            )
        ]
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, step: int, *, compiled: bool) -> Figures:
        """Read the weights.

        Args:
            step: the iteration of the model's optimizer.
            compiled: whether to compile the pass, which takes seconds for a
                large model and makes it many times faster from then on.
        """
        scales = [None if m is None else m.scale() for m in self._memories]
        numbers = (
            np.array([_step(row, step) for row in self._rows], "int32"),
            np.array([_multiplier(row) for row in self._rows], "float32"),
            np.array([scale or 0.0 for scale in scales], "float32"),
        )
        found = self._run(numbers, compiled)
        floats, counts, strengths, dead = map(ops.convert_to_numpy, found)
        return Figures(
            floats,
            counts,
            self._named(strengths),
            [
                None if scale is None else figures.gradient
                for figures, scale in zip(self._figures, scales, strict=True)
            ],
            self._by_layer(dead),
        )

    def _run(self, numbers: tuple[Any, ...], compiled: bool) -> Any:
        variables = [v for several in self._variables for v in several]
        backend = keras.backend.backend()
        if not compiled or backend not in ("tensorflow", "jax"):
            values = [ops.convert_to_tensor(v) for v in variables]
            tensors = map(ops.convert_to_tensor, numbers)
            return self._compute(lambda figures, w: figures, values, *tensors)
        if self._compiled is None:
            compiler = importlib.import_module(f"kreg.statistics._{backend}")
            kernels: dict[Any, Kernel] = {}

            def kernel(figures: WeightFigures, w: Tensor) -> Kernel:
                key = (figures.key, tuple(w.shape), w.dtype)
                if key not in kernels:
                    kernels[key] = compiler.blocked(figures, w)
                return kernels[key]

            def compute(*arguments: Any) -> Any:
                return self._compute(kernel, *arguments)

            self._compiled = compiler.compiled(compute, variables)
        return self._compiled(*numbers)

    def _compute(
        self,
        kernel: Callable[[WeightFigures, Tensor], Kernel],
        values: Sequence[Tensor],
        steps: Tensor,
        multipliers: Tensor,
        scales: Tensor,
    ) -> tuple[Tensor, ...]:
        """The figures of all weights, as four arrays."""
        values = list(values)
        floats, counts, strengths = [], [], []
        dead: dict[tuple[int, int], Tensor] = {}
        for i, row in enumerate(self._rows):
            arrays = [values.pop(0) for _ in self._variables[i]]
            named = _strengths(row, steps[i], multipliers[i])
            numbers = [scales[i], *named.values()]
            numbers = ops.stack([ops.cast(n, "float32") for n in numbers])
            compute = kernel(self._figures[i], arrays[0])
            found, counted, units = compute(arrays, numbers)
            floats.append(found)
            counts.append(counted)
            strengths.append(numbers)
            if units is not None:
                # A recurrent cell has two kernels for the same units;
                # depthwise and pointwise kernels feed different ones.
                key = (row.layer, int(units.shape[0]))
                before = dead.get(key, units)
                dead[key] = ops.logical_and(before, units)
        return (
            _stacked(floats),
            ops.stack(counts),
            ops.concatenate(strengths),
            # No empty array, over which XLA stumbles.
            ops.stack(
                [ops.zeros((), "int32")]
                + [ops.sum(ops.cast(mask, "int32")) for mask in dead.values()]
            ),
        )

    def _named(self, strengths: NDArray[Any]) -> list[dict[str, float]]:
        values = iter(strengths.tolist())
        named = []
        for row in self._rows:
            next(values)  # the scale of its gradient
            names = row.penalty.strength_names() if row.penalty else ()
            named.append({name: next(values) for name in names})
        return named

    def _by_layer(self, dead: NDArray[Any]) -> dict[int, int]:
        keys = dict.fromkeys(
            (row.layer, row.units.count) for row in self._rows if row.units
        )
        found: dict[int, int] = {}
        for (layer, _), count in zip(keys, dead[1:].tolist(), strict=True):
            found[layer] = found.get(layer, 0) + count
        return found


def _figures(
    row: Row, memory: GradientMemory | None, threshold: float, moved: bool
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


def _step(row: Row, step: int) -> int:
    return int(ops.convert_to_numpy(governing_step(row.variable, step)))


def _multiplier(row: Row) -> float:
    if row.penalty is None or row.suspended:
        return 0.0
    return row.penalty.multiplier


def _strengths(
    row: Row, step: Tensor, multiplier: Tensor
) -> dict[str, Tensor | float]:
    if row.penalty is None:
        return {}
    return row.penalty.strengths(step, multiplier)


def _stacked(rows: list[Tensor]) -> Tensor:
    dtype = keras.backend.result_type(*(row.dtype for row in rows))
    return ops.stack([ops.cast(row, dtype) for row in rows])
