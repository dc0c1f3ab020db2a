"""Sums over the entries of weights, in one pass over memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.regularizers._norms import summable

BLOCK = 2048
"""How many entries at a time stay in the processor's nearest memory."""

_LARGEST = 2


@dataclass(frozen=True)
class EntrySums:
    """What a pass over the entries of some weights finds: vectors.

    Args:
        l1_norm: `sum(abs(w))`.
        squares: `sum(w ** 2)`.
        largest: `max(abs(w))`; 0 without entries.
        moved: `sum((w - before) ** 2)`; 0 where there is no weight before.
        remembered: `sum(memory ** 2)`; 0 where there is no memory.
        zeros: how many entries are exactly 0, as int32.
        near_zeros: how many are at most the threshold in size, as int32.
    """

    l1_norm: Tensor
    squares: Tensor
    largest: Tensor
    moved: Tensor
    remembered: Tensor
    zeros: Tensor
    near_zeros: Tensor


def entry_sums(
    weights: Tensor,
    before: Tensor | None,
    memory: Tensor | None,
    threshold: float,
    *,
    blocked: bool,
) -> EntrySums:
    """Norms and counts of weights of one shape.

    Args:
        weights: float tensor `(number of weights, *shape)`.
        before: tensor of the same shape, what `moved` is measured from, or
            None.
        memory: tensor of the same shape, whose squares are summed too, or None.
        threshold: the largest size that counts as near zero.
        blocked: whether to take the entries a block at a time, with a sum for
            each place in the block. Inside a function that XLA compiles for a
            CPU, it is the only loop that it writes with vector instructions,
            and reads a weight once for all the sums; elsewhere it is slow.
    """
    number = int(weights.shape[0])
    arrays = [
        None if array is None else ops.reshape(array, (number, -1))
        for array in (weights, before, memory)
    ]
    size = int(np.prod(weights.shape[1:], dtype=int))
    rounds = size // BLOCK if blocked else 0
    rest = _part(arrays, rounds * BLOCK, size - rounds * BLOCK)
    sums = None
    if size > rounds * BLOCK:
        sums = _reduced(_entries(rest, threshold))
    if rounds:
        blocks = _reduced(_blocks(arrays, rounds, threshold))
        sums = blocks if sums is None else _joined(blocks, sums)
    if sums is None:
        sums = [ops.sum(e, axis=1) for e in _entries(rest, threshold)]
    return EntrySums(*sums)


def _part(
    arrays: Sequence[Tensor | None], start: Tensor, length: int
) -> list[Tensor | None]:
    """The entries of each weight from `start` on."""
    return [
        None
        if array is None
        else ops.slice(array, (0, start), (array.shape[0], length))
        for array in arrays
    ]


def _entries(arrays: Sequence[Tensor | None], threshold: float) -> list[Tensor]:
    """What every entry contributes, in the order of `EntrySums`."""
    own, before, memory = arrays
    w = summable(own)
    size = ops.abs(w)
    none = ops.zeros_like(w)
    return [
        size,
        ops.square(w),
        size,
        none if before is None else ops.square(w - summable(before)),
        none if memory is None else ops.square(summable(memory)),
        ops.cast(ops.equal(own, 0), "int32"),
        ops.cast(ops.less_equal(size, threshold), "int32"),
    ]


def _blocks(
    arrays: Sequence[Tensor | None], rounds: int, threshold: float
) -> list[Tensor]:
    """What `rounds` blocks contribute together, at each place in a block."""

    def entries(i: Tensor) -> list[Tensor]:
        return _entries(_part(arrays, i * BLOCK, BLOCK), threshold)

    def add(i: Tensor, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(_joined(sums, entries(i)))

    return list(ops.fori_loop(1, rounds, add, tuple(entries(0))))


def _joined(sums: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    joined = [a + b for a, b in zip(sums, others, strict=True)]
    joined[_LARGEST] = ops.maximum(sums[_LARGEST], others[_LARGEST])
    return joined


def _reduced(sums: list[Tensor]) -> list[Tensor]:
    reduced = [ops.sum(entry, axis=1) for entry in sums]
    reduced[_LARGEST] = ops.max(sums[_LARGEST], axis=1)
    return reduced
