"""Measures all figures of weights of one shape and kind in one pass."""

from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.statistics.figures import MEASURED
from kreg.statistics.measures import (
    Batch,
    Entries,
    EntryMeasure,
    WeightKind,
    WeightMeasure,
)

BLOCK = 2048
"""The number of entries in a block; it fits into the fastest cache."""

FLOATS = tuple(f.name for f in MEASURED if f.dtype is float)
"""The columns of the array of floats that `measure` returns."""

COUNTS = tuple(f.name for f in MEASURED if f.dtype is int)
"""The columns of the array of integers that `measure` returns."""

_OF_ENTRIES = {
    f.name: f.measure for f in MEASURED if isinstance(f.measure, EntryMeasure)
}
_OF_WEIGHTS = {
    f.name: f.measure for f in MEASURED if isinstance(f.measure, WeightMeasure)
}

Sums = dict[str, Tensor]


def measure(
    kind: WeightKind,
    arrays: Sequence[Tensor],
    scales: Tensor,
    strengths: Tensor,
    *,
    blocked: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Measure some weights of one shape and kind.

    Args:
        kind: their kind.
        arrays: tensors `(number of weights, *shape)`: the weights; the weights
            before the last update, if the kind has them; the optimizer's
            averages of their gradients, if the kind has a gradient.
        scales: for each weight, the factor that turns its average into a
            gradient.
        strengths: for each weight, the strengths of its penalty.
        blocked: see `entry_sums`.

    Returns:
        Three arrays with a row for each weight: one with the columns `FLOATS`,
        one with the columns `COUNTS`, and the mask of dead units (None without
        units).
    """
    weights, *others = arrays
    before = others[0] if kind.has_before else None
    memory = others[-1] if kind.gradient else None
    sums = entry_sums(weights, before, memory, kind.threshold, blocked=blocked)
    dtype = sums["l2_norm"].dtype
    batch = Batch(
        kind,
        weights,
        memory,
        ops.cast(scales, dtype),
        ops.cast(strengths, dtype),
        sums,
    )
    for name, entry_measure in _OF_ENTRIES.items():
        if entry_measure.factor is not None:
            sums[name] = sums[name] * entry_measure.factor(batch)
    measured = dict(sums)
    for name, weight_measure in _OF_WEIGHTS.items():
        measured[name] = weight_measure.of_batch(batch)
    return (
        ops.stack([measured[name] for name in FLOATS], axis=1),
        ops.stack([measured[name] for name in COUNTS], axis=1),
        batch.dead[0],
    )


def entry_sums(
    weights: Tensor,
    before: Tensor | None,
    memory: Tensor | None,
    threshold: float,
    *,
    blocked: bool,
) -> Sums:
    """Every `EntryMeasure` of weights of one shape, without its factor.

    Args:
        weights: float tensor `(number of weights, *shape)`.
        before: tensor of the same shape, the weights before the last update,
            or None.
        memory: tensor of the same shape, the optimizer's averages of their
            gradients, or None.
        threshold: the largest absolute value that counts as near zero.
        blocked: whether to add up the entries block by block, with a sum for
            each position in the block. This pays only in a function that XLA
            compiles for a CPU, because XLA vectorizes this loop and reads the
            weight once for all sums. Elsewhere it is slow.

    Returns:
        For each figure by name, a vector with a number for each weight.
    """
    number = int(weights.shape[0])
    arrays = [
        None if array is None else ops.reshape(array, (number, -1))
        for array in (weights, before, memory)
    ]
    size = int(np.prod(weights.shape[1:], dtype=int))
    rounds = size // BLOCK if blocked else 0
    rest = _part(arrays, rounds * BLOCK, size - rounds * BLOCK)
    if size == 0:
        empty = _contributions(rest, threshold)
        return {name: ops.sum(part, axis=1) for name, part in empty.items()}
    sums = None
    if size > rounds * BLOCK:
        sums = _reduced(_contributions(rest, threshold))
    if rounds:
        blocks = _reduced(_over_blocks(arrays, rounds, threshold))
        sums = blocks if sums is None else _joined(blocks, sums)
    return sums or {}


def _part(
    arrays: Sequence[Tensor | None], start: Tensor, length: int
) -> list[Tensor | None]:
    """The entries `start` to `start + length` of each weight."""
    return [
        None
        if array is None
        else ops.slice(array, (0, start), (array.shape[0], length))
        for array in arrays
    ]


def _contributions(arrays: Sequence[Tensor | None], threshold: float) -> Sums:
    """The contribution of every entry to each figure."""
    stored, before, memory = arrays
    entries = Entries(stored, before, memory, threshold)
    added = {
        name: entry_measure.of_entries(entries)
        for name, entry_measure in _OF_ENTRIES.items()
    }
    zeros = ops.zeros_like(entries.w)
    return {
        name: zeros if contribution is None else contribution
        for name, contribution in added.items()
    }


def _over_blocks(
    arrays: Sequence[Tensor | None], rounds: int, threshold: float
) -> Sums:
    """The contributions summed over blocks, for each position in a block."""

    def contributions(i: Tensor) -> Sums:
        return _contributions(_part(arrays, i * BLOCK, BLOCK), threshold)

    def add(i: Tensor, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        named = dict(zip(_OF_ENTRIES, sums, strict=True))
        return tuple(_joined(named, contributions(i)).values())

    first = tuple(contributions(0).values())
    whole = ops.fori_loop(1, rounds, add, first)
    return dict(zip(_OF_ENTRIES, whole, strict=True))


def _joined(sums: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Sums:
    return {
        name: entry_measure.joined(sums[name], others[name])
        for name, entry_measure in _OF_ENTRIES.items()
    }


def _reduced(contributions: Mapping[str, Tensor]) -> Sums:
    return {
        name: entry_measure.reduced(contributions[name])
        for name, entry_measure in _OF_ENTRIES.items()
    }
