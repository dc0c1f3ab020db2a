"""The figures of weights, as tensors."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from kreg._types import Tensor
from kreg.regularizers._grouping import Grouping
from kreg.regularizers._norms import summable
from kreg.statistics._entries import entry_sums


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
