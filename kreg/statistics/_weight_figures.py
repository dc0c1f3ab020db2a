"""The figures of one weight, as tensors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from kreg._types import Tensor
from kreg.regularizers import Penalty
from kreg.regularizers._grouping import Grouping
from kreg.regularizers._norms import summable, summable_dtype
from kreg.regularizers._strength import Strengths, cast_strengths
from kreg.statistics._entries import entry_sums


@dataclass(frozen=True)
class WeightFigures:
    """What to compute of a weight.

    Args:
        penalty: its kreg penalty, if that acts now; else None.
        groups: what the penalty says goes together.
        units: the incoming weights of each output channel; None without any.
        inputs: the outgoing weights of each input channel.
        threshold: the largest size that counts as near zero.
        moved: whether the weight before is known.
        gradient: what is known of its gradient: `None`; `"total"`, that of the
            data loss and the penalties; `"data"`, of the data loss alone.
    """

    penalty: Penalty | None
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
        numbers: Tensor,
        *,
        blocked: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compute them.

        Args:
            arrays: the weight; the weight before, if `moved`; the memory of its
                gradient, if `gradient`.
            numbers: vector: what the memory must be multiplied by, then the
                strengths of the penalty.
            blocked: see `entry_sums`.

        Returns:
            Seven floats: the penalty, the norms `l1`, squared `l2` and `max`,
            and the squared lengths of the last move, of the gradient and of the
            optimality residual. Four counts: zeros, near zeros, dead inputs and
            dead units. And which units are dead, as a boolean vector, or None.
        """
        w, *others = arrays
        before = others[0] if self.moved else None
        sums = entry_sums(w, before, self.threshold, blocked=blocked)
        dtype = summable_dtype(w)
        strengths = self._strengths(numbers, dtype)
        penalty = gradient = residual = ops.zeros((), dtype)
        if self.penalty is not None:
            penalty = self.penalty.value(summable(w), strengths, self.groups)
            penalty = ops.zeros((), dtype) + penalty
        if self.gradient is not None:
            g = summable(others[-1]) * ops.cast(numbers[0], dtype)
            gradient = residual = ops.sum(ops.square(g))
            if self.penalty is not None and self.gradient == "data":
                residual = _residual(
                    self.penalty, summable(w), g, strengths, self.groups
                )
        dead_units, dead_inputs = self._dead(w, sums.zeros)
        floats = [
            penalty,
            sums.l1_norm,
            sums.squares,
            sums.largest,
            sums.moved,
            gradient,
            residual,
        ]
        counts = [sums.zeros, sums.near_zeros]
        for mask in (dead_inputs, dead_units):
            dead = 0 if mask is None else ops.sum(ops.cast(mask, "int32"))
            counts.append(ops.convert_to_tensor(dead, "int32"))
        return ops.stack(floats), ops.stack(counts), dead_units

    def _strengths(self, numbers: Tensor, dtype: str) -> dict[str, Tensor]:
        if self.penalty is None:
            return {}
        names = self.penalty.strength_names()
        return cast_strengths(
            {name: numbers[1 + i] for i, name in enumerate(names)}, dtype
        )

    def _dead(
        self, w: Tensor, zeros: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Which units are dead, and which inputs."""
        known = [g for g in (self.units, self.inputs) if g is not None]
        if not known:
            return None, None

        def found() -> list[Tensor]:
            return [_dead_groups(w, groups) for groups in known]

        def none() -> list[Tensor]:
            return [ops.zeros((groups.count,), "bool") for groups in known]

        smallest = min(groups.size for groups in known)
        masks = list(ops.cond(zeros >= smallest, found, none))
        units = None if self.units is None else masks.pop(0)
        inputs = None if self.inputs is None else masks.pop(0)
        return units, inputs


def _dead_groups(w: Tensor, groups: Grouping) -> Tensor:
    """Which groups of a weight hold nothing but zeros."""
    w = groups.grouped(ops.convert_to_tensor(w))
    alive = groups.total(ops.cast(ops.not_equal(w, 0), "int32"))
    return ops.reshape(ops.equal(alive, 0), (-1,))


def _residual(
    penalty: Penalty,
    w: Tensor,
    gradient: Tensor,
    strengths: Strengths,
    groups: Grouping | None,
) -> Tensor:
    """`sum(((w - p) / t) ** 2)`, p the proximal step of `w - t * gradient`.

    Zero where the weight is a minimum of the data loss plus the penalty. The
    step t is 1, or shorter where the penalty is not convex.
    """
    step = min(1.0, penalty.longest_step / 2.0)
    after = penalty.proximal_step(w - step * gradient, step, strengths, groups)
    return ops.sum(ops.square((w - after) / step))
