"""Measures of weights, as functions of tensors: sums, norms, dead groups."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import is_complex, summable


@dataclass(frozen=True, kw_only=True)
class WeightKind:
    """The properties of a weight that determine how it is measured.

    Weights of equal kind and shape are measured by the same function.

    Args:
        penalty: the kreg `Penalty` that acts on the weight now, or None.
        groups: the groups of entries that the penalty acts on, or None.
        units: the incoming weights of each output channel; None without any.
        inputs: the outgoing weights of each input channel; None without any.
        threshold: the largest absolute value that counts as near zero.
        has_before: whether there is a copy from before the last update.
        gradient: which gradients the optimizer averages: `"data"` for those of
            the data loss, `"total"` for those of the data loss plus penalties,
            None if it keeps no average.
    """

    penalty: Any
    groups: Grouping | None
    units: Grouping | None
    inputs: Grouping | None
    threshold: float
    has_before: bool
    gradient: Literal["data", "total"] | None

    @property
    def key(self) -> Any:
        """A key that is equal for kinds that differ only in strengths."""
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
            self.has_before,
            self.gradient,
        )


class Entries:
    """Some entries of several weights: tensors `(weights, entries)`.

    Args:
        stored: the entries in the dtype of the weights.
        before: the entries before the last update, or None.
        memory: the optimizer's average of their gradients, or None.
        threshold: the largest absolute value that counts as near zero.

    Attributes:
        w: the entries in at least single precision; moduli if complex.
        size: `abs(w)`.
        moved: `w` minus the entries before the last update, or None.
    """

    def __init__(
        self,
        stored: Tensor,
        before: Tensor | None,
        memory: Tensor | None,
        threshold: float,
    ) -> None:
        self.stored = stored
        self.threshold = threshold
        self.w = summable(stored)
        self.size = ops.abs(self.w)
        self.moved = None
        if before is not None:
            self.moved = (
                summable(stored - before)
                if is_complex(stored)
                else self.w - summable(before)
            )
        self.memory = None if memory is None else summable(memory)


@dataclass(frozen=True)
class Batch:
    """Weights of one shape and kind that are measured together.

    Args:
        kind: their kind.
        weights: tensor `(number of weights, *shape)`.
        memory: tensor of the same shape, the optimizer's averages of their
            gradients, or None.
        scales: for each weight, the factor that turns its memory into a
            gradient.
        strengths: for each weight, the strengths of its penalty.
        sums: the results of all `EntryMeasure`s, a vector for each figure.
    """

    kind: WeightKind
    weights: Tensor
    memory: Tensor | None
    scales: Tensor
    strengths: Tensor
    sums: Mapping[str, Tensor]

    @cached_property
    def dead(self) -> tuple[Tensor | None, Tensor | None]:
        """Masks of the dead units and of the dead inputs of each weight."""
        groupings = [
            groups
            for groups in (self.kind.units, self.kind.inputs)
            if groups is not None
        ]
        if not groupings:
            return None, None
        number = int(self.weights.shape[0])

        def masks_of_groups() -> list[Tensor]:
            return [dead_groups(self.weights, groups) for groups in groupings]

        def masks_of_false() -> list[Tensor]:
            return [ops.zeros((number, g.count), "bool") for g in groupings]

        # If there are fewer zeros than entries in the smallest group, no group
        # is dead, and the pass over the weight can be skipped.
        smallest = min(groups.size for groups in groupings)
        may_be_dead = ops.any(self.sums["zeros"] >= smallest)
        masks = list(ops.cond(may_be_dead, masks_of_groups, masks_of_false))
        units = None if self.kind.units is None else masks.pop(0)
        inputs = None if self.kind.inputs is None else masks.pop(0)
        return units, inputs

    def named(self, strengths: Tensor) -> dict[str, Tensor]:
        """The strengths of one weight by name."""
        names = self.kind.penalty.strength_names()
        return {name: strengths[i] for i, name in enumerate(names)}


@dataclass(frozen=True)
class EntryMeasure:
    """A sum over the entries of a weight; one pass computes all sums.

    Args:
        of_entries: returns the contribution of each entry, or None if
            contributions are unknown; the sum is then 0.
        is_maximum: whether to take the largest contribution, not the sum.
        factor: returns a factor for the sum of each weight. Defaults to `None`:
            no factor.
    """

    of_entries: Callable[[Entries], Tensor | None]
    is_maximum: bool = False
    factor: Callable[[Batch], Tensor] | None = None

    def reduced(self, contributions: Tensor) -> Tensor:
        """The sum, or the maximum, over the entries of each weight."""
        reduce = ops.max if self.is_maximum else ops.sum
        return reduce(contributions, axis=1)

    def joined(self, left: Tensor, right: Tensor) -> Tensor:
        """The sum, or the maximum, of the results for two sets of entries."""
        return ops.maximum(left, right) if self.is_maximum else left + right


@dataclass(frozen=True)
class WeightMeasure:
    """A measure of whole weights that is not a sum over entries.

    Args:
        of_batch: returns a number for each weight of a batch.
    """

    of_batch: Callable[[Batch], Tensor]


def squared_scales(batch: Batch) -> Tensor:
    """Factors that turn squares of memories into squares of gradients."""
    return ops.square(batch.scales)


def penalty_values(batch: Batch) -> Tensor:
    """The value of the kreg penalty of each weight; 0 without a penalty."""
    if batch.kind.penalty is None:
        return ops.zeros_like(batch.sums["l2_norm"])

    def value(w: Tensor, strengths: Tensor) -> Tensor:
        named = batch.named(strengths)
        penalty = batch.kind.penalty.value(w, named, batch.kind.groups)
        return ops.zeros((), w.dtype) + penalty

    return _for_each_weight(value, [summable(batch.weights), batch.strengths])


def squared_residuals(batch: Batch) -> Tensor:
    """`sum(((w - p) / t) ** 2)`, p the proximal step of `w - t * gradient`.

    It is zero if the weight is at a minimum of the data loss plus the penalty.
    The step t is 1, or shorter if the penalty is not convex. Without a kreg
    penalty, or if the gradient includes that of the penalty, it is the square
    of the gradient.
    """
    kind = batch.kind
    if kind.penalty is None or kind.gradient != "data":
        return batch.sums["gradient_norm"]
    step = min(1.0, kind.penalty.longest_step / 2.0)

    def residual(
        w: Tensor, strengths: Tensor, memory: Tensor, scale: Tensor
    ) -> Tensor:
        after = kind.penalty.proximal_step(
            w - step * scale * memory,
            step,
            batch.named(strengths),
            kind.groups,
        )
        return ops.sum(ops.square((w - after) / step))

    return _for_each_weight(
        residual,
        [
            summable(batch.weights),
            batch.strengths,
            summable(batch.memory),
            batch.scales,
        ],
    )


def dead_units(batch: Batch) -> Tensor:
    """The number of output channels whose incoming weights are all zero."""
    return _count_in_mask(batch.dead[0], batch)


def dead_inputs(batch: Batch) -> Tensor:
    """The number of input channels whose outgoing weights are all zero."""
    return _count_in_mask(batch.dead[1], batch)


def _count_in_mask(mask: Tensor | None, batch: Batch) -> Tensor:
    if mask is None:
        return ops.zeros_like(batch.sums["zeros"])
    return ops.sum(ops.cast(mask, "int32"), axis=1)


def _for_each_weight(
    function: Callable[..., Tensor], arrays: Sequence[Tensor]
) -> Tensor:
    """Apply `function` to each weight of a batch; returns a vector."""
    if arrays[0].shape[0] == 1:
        return ops.expand_dims(function(*(array[0] for array in arrays)), 0)
    return ops.vectorized_map(lambda each: function(*each), tuple(arrays))


def dead_groups(weights: Tensor, groups: Grouping) -> Tensor:
    """Which groups of each weight hold only zeros.

    Args:
        weights: tensor `(number of weights, *shape)`.
        groups: the groups of entries of a weight of this shape.

    Returns:
        Booleans `(number of weights, number of groups)`.
    """
    number = int(weights.shape[0])
    batch_groups = Grouping(
        (number, *groups.view), tuple(axis + 1 for axis in groups.axes)
    )
    alive = ops.cast(ops.not_equal(batch_groups.grouped(weights), 0), "int32")
    return ops.reshape(ops.equal(batch_groups.total(alive), 0), (number, -1))


def dead_in_all(
    weights: Sequence[Tensor], groupings: Sequence[Grouping]
) -> Tensor:
    """The number of groups that hold only zeros in all of several weights."""
    masks = [
        dead_groups(ops.expand_dims(w, 0), groups)[0]
        for w, groups in zip(weights, groupings, strict=True)
    ]
    dead = masks[0]
    for mask in masks[1:]:
        dead = ops.logical_and(dead, mask)
    return ops.sum(ops.cast(dead, "int32"))
