"""The figures of weights, as tensors."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import summable

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


@dataclass(frozen=True)
class WeightFigures:
    """What to compute of a weight.

    Args:
        penalty: its kreg `Penalty`, if that acts now; else None.
        groups: what the penalty says goes together.
        units: the incoming weights of each output channel; None without any.
        inputs: the outgoing weights of each input channel.
        threshold: the largest size that counts as near zero.
        moved: whether the weight before is known.
        gradient: what is known of its gradient: `None`; `"total"`, that of the
            data loss and the penalties; `"data"`, of the data loss alone.
    """

    penalty: Any
    groups: Grouping | None
    units: Grouping | None
    inputs: Grouping | None
    threshold: float
    moved: bool
    gradient: str | None

    @property
    def key(self) -> Any:
        """Equal for weights whose figures are the same function of them."""
        config: dict[str, Any] = {}
        if self.penalty is not None:
            config = self.penalty.get_config()
            for name in ("multiplier", *self.penalty.strength_names()):
                del config[name]
        return (
            type(self.penalty),
            json.dumps(config, sort_keys=True),
            self.groups,
            self.units,
            self.inputs,
            self.threshold,
            self.moved,
            self.gradient,
        )

    def __call__(
        self,
        arrays: Sequence[Tensor],
        scales: Tensor,
        strengths: Tensor,
        *,
        blocked: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compute them for some weights of one shape.

        Args:
            arrays: the weights, as `(number of weights, *shape)`; the weights
                before, if `moved`; the memories of their gradients, if
                `gradient`.
            scales: for each weight, what the memory must be multiplied by.
            strengths: for each weight, the strengths of its penalty.
            blocked: see `entry_sums`.

        Returns:
            For each weight, seven floats: the penalty, the norms `l1`, squared
            `l2` and `max`, and the squared lengths of the last move, of the
            gradient and of the optimality residual. Four counts: zeros, near
            zeros, dead inputs and dead units. And which units are dead, as
            booleans, or None.
        """
        weights, *others = arrays
        before = others[0] if self.moved else None
        memory = others[-1] if self.gradient else None
        sums = entry_sums(
            weights, before, memory, self.threshold, blocked=blocked
        )
        scales = ops.cast(scales, sums.squares.dtype)
        gradients = residuals = sums.remembered * ops.square(scales)
        penalties = ops.zeros_like(sums.squares)
        if self.penalty is not None:
            strengths = ops.cast(strengths, sums.squares.dtype)
            given = [summable(weights), strengths]
            penalties = _of_each(self._penalty, given)
            if self.gradient == "data":
                given += [summable(memory), scales]
                residuals = _of_each(self._residual, given)
        dead_units, dead_inputs = self._dead(weights, sums.zeros)
        floats = [
            penalties,
            sums.l1_norm,
            sums.squares,
            sums.largest,
            sums.moved,
            gradients,
            residuals,
        ]
        counts = [sums.zeros, sums.near_zeros]
        for mask in (dead_inputs, dead_units):
            if mask is None:
                counts.append(ops.zeros_like(sums.zeros))
            else:
                counts.append(ops.sum(ops.cast(mask, "int32"), axis=1))
        return ops.stack(floats, axis=1), ops.stack(counts, axis=1), dead_units

    def _penalty(self, w: Tensor, strengths: Tensor) -> Tensor:
        named = self._named(strengths)
        value = self.penalty.value(w, named, self.groups)
        return ops.zeros((), w.dtype) + value

    def _residual(
        self, w: Tensor, strengths: Tensor, memory: Tensor, scale: Tensor
    ) -> Tensor:
        """`sum(((w - p) / t) ** 2)`, p the proximal step of `w - t * gradient`.

        Zero where the weight is a minimum of the data loss plus the penalty.
        The step t is 1, or shorter where the penalty is not convex.
        """
        named = self._named(strengths)
        step = min(1.0, self.penalty.longest_step / 2.0)
        after = self.penalty.proximal_step(
            w - step * scale * memory, step, named, self.groups
        )
        return ops.sum(ops.square((w - after) / step))

    def _named(self, strengths: Tensor) -> dict[str, Tensor]:
        names = self.penalty.strength_names()
        return {name: strengths[i] for i, name in enumerate(names)}

    def _dead(
        self, weights: Tensor, zeros: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Which units are dead, and which inputs."""
        number = int(weights.shape[0])
        known = [g for g in (self.units, self.inputs) if g is not None]
        if not known:
            return None, None

        def found() -> list[Tensor]:
            return [dead_groups(weights, groups) for groups in known]

        def none() -> list[Tensor]:
            return [ops.zeros((number, g.count), "bool") for g in known]

        smallest = min(groups.size for groups in known)
        masks = list(ops.cond(ops.any(zeros >= smallest), found, none))
        units = None if self.units is None else masks.pop(0)
        inputs = None if self.inputs is None else masks.pop(0)
        return units, inputs


def _of_each(function: Callable[..., Tensor], arrays: list[Tensor]) -> Tensor:
    """A vector of what `function` says of each weight."""
    if arrays[0].shape[0] == 1:
        return ops.expand_dims(function(*(array[0] for array in arrays)), 0)
    return ops.vectorized_map(lambda each: function(*each), tuple(arrays))


def dead_groups(weights: Tensor, groups: Grouping) -> Tensor:
    """Which groups of each weight hold nothing but zeros."""
    number = int(weights.shape[0])
    several = Grouping(
        (number, *groups.view), tuple(axis + 1 for axis in groups.axes)
    )
    alive = ops.cast(ops.not_equal(several.grouped(weights), 0), "int32")
    return ops.reshape(ops.equal(several.total(alive), 0), (number, -1))
