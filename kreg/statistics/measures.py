"""What a pass over the memory measures of weights: tensors, no host."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import summable


@dataclass(frozen=True, kw_only=True)
class WeightKind:
    """What must be equal for weights to be measured by the same function.

    Args:
        penalty: the kreg `Penalty`, if that acts now; else None.
        groups: which entries the penalty takes together.
        units: the incoming weights of each output channel; None without any.
        inputs: the outgoing weights of each input channel.
        threshold: the largest size that counts as near zero.
        has_before: whether the weight before its last update is at hand.
        gradient: what the optimizer remembers gradients of: `"data"`, the data
            loss alone; `"total"`, the data loss and the penalties; None if it
            remembers none.
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
        """Equal for equal kinds; penalties may differ in their strengths."""
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
        before: what they were before the last update, or None.
        memory: what the optimizer remembers of their gradients, or None.
        threshold: the largest size that counts as near zero.

    Attributes:
        w: the entries in single precision at least.
        size: `abs(w)`.
        moved: `w` minus what it was before, or None.
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
        self.moved = None if before is None else self.w - summable(before)
        self.memory = None if memory is None else summable(memory)


@dataclass(frozen=True)
class Batch:
    """Weights of one shape and kind that are measured together.

    Args:
        kind: their kind.
        weights: tensor `(number of weights, *shape)`.
        memory: tensor of the same shape, what the optimizer remembers of their
            gradients, or None.
        scales: for each weight, what its memory must be multiplied by.
        strengths: for each weight, the strengths of its penalty.
        sums: what `EntryMeasure`s have come to, a vector for each figure.
    """

    kind: WeightKind
    weights: Tensor
    memory: Tensor | None
    scales: Tensor
    strengths: Tensor
    sums: Mapping[str, Tensor]

    @cached_property
    def dead(self) -> tuple[Tensor | None, Tensor | None]:
        """Which units of each weight are dead, and which inputs: booleans."""
        groupings = [
            groups
            for groups in (self.kind.units, self.kind.inputs)
            if groups is not None
        ]
        if not groupings:
            return None, None
        number = int(self.weights.shape[0])

        def looked_for() -> list[Tensor]:
            return [dead_groups(self.weights, groups) for groups in groupings]

        def none() -> list[Tensor]:
            return [ops.zeros((number, g.count), "bool") for g in groupings]

        # Too few zeros for any group: spare the pass over the weight.
        smallest = min(groups.size for groups in groupings)
        are_enough = ops.any(self.sums["zeros"] >= smallest)
        masks = list(ops.cond(are_enough, looked_for, none))
        units = None if self.kind.units is None else masks.pop(0)
        inputs = None if self.kind.inputs is None else masks.pop(0)
        return units, inputs

    def named(self, strengths: Tensor) -> dict[str, Tensor]:
        """The strengths of one weight by name."""
        names = self.kind.penalty.strength_names()
        return {name: strengths[i] for i, name in enumerate(names)}


@dataclass(frozen=True)
class EntryMeasure:
    """A sum over the entries of a weight; all are taken in one pass.

    Args:
        of: what each entry contributes; None where that is not known, for
            which the sum is 0.
        is_maximum: whether the largest is taken in place of the sum.
        factor: what the sum of each weight is multiplied by. Defaults to
            nothing.
    """

    of: Callable[[Entries], Tensor | None]
    is_maximum: bool = False
    factor: Callable[[Batch], Tensor] | None = None

    def reduced(self, contributions: Tensor) -> Tensor:
        """Over the entries of each weight."""
        reduce = ops.max if self.is_maximum else ops.sum
        return reduce(contributions, axis=1)

    def joined(self, left: Tensor, right: Tensor) -> Tensor:
        """Over two parts of the entries."""
        return ops.maximum(left, right) if self.is_maximum else left + right


@dataclass(frozen=True)
class WeightMeasure:
    """What is measured of weights as a whole.

    Args:
        of: gives a number for each weight of a batch.
    """

    of: Callable[[Batch], Tensor]


def squared_scales(batch: Batch) -> Tensor:
    """What turns squares of the optimizer's memory into those of gradients."""
    return ops.square(batch.scales)


def penalty_values(batch: Batch) -> Tensor:
    """The kreg penalty of each weight; 0 without any."""
    if batch.kind.penalty is None:
        return ops.zeros_like(batch.sums["l2_norm"])

    def value(w: Tensor, strengths: Tensor) -> Tensor:
        named = batch.named(strengths)
        penalty = batch.kind.penalty.value(w, named, batch.kind.groups)
        return ops.zeros((), w.dtype) + penalty

    return _of_each(value, [summable(batch.weights), batch.strengths])


def squared_residuals(batch: Batch) -> Tensor:
    """`sum(((w - p) / t) ** 2)`, p the proximal step of `w - t * gradient`.

    Zero where the weight is a minimum of the data loss plus the penalty.
    The step t is 1, or shorter where the penalty is not convex. Where the
    gradient holds the penalty too, or there is none, it is the gradient's
    square.
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

    return _of_each(
        residual,
        [
            summable(batch.weights),
            batch.strengths,
            summable(batch.memory),
            batch.scales,
        ],
    )


def dead_units(batch: Batch) -> Tensor:
    """How many output channels have no incoming weight but zeros."""
    return _number_of(batch.dead[0], batch)


def dead_inputs(batch: Batch) -> Tensor:
    """How many input channels have no outgoing weight but zeros."""
    return _number_of(batch.dead[1], batch)


def _number_of(mask: Tensor | None, batch: Batch) -> Tensor:
    if mask is None:
        return ops.zeros_like(batch.sums["zeros"])
    return ops.sum(ops.cast(mask, "int32"), axis=1)


def _of_each(
    function: Callable[..., Tensor], arrays: Sequence[Tensor]
) -> Tensor:
    """`function` of each weight, as a vector."""
    if arrays[0].shape[0] == 1:
        return ops.expand_dims(function(*(array[0] for array in arrays)), 0)
    return ops.vectorized_map(lambda each: function(*each), tuple(arrays))


def dead_groups(weights: Tensor, groups: Grouping) -> Tensor:
    """Which groups of each weight hold nothing but zeros.

    Args:
        weights: tensor `(number of weights, *shape)`.
        groups: which entries of such a weight belong together.

    Returns:
        Booleans `(number of weights, number of groups)`.
    """
    number = int(weights.shape[0])
    several = Grouping(
        (number, *groups.view), tuple(axis + 1 for axis in groups.axes)
    )
    alive = ops.cast(ops.not_equal(several.grouped(weights), 0), "int32")
    return ops.reshape(ops.equal(several.total(alive), 0), (number, -1))
