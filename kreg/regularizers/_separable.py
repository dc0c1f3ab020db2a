"""Penalties that are a sum over entries: what they have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping, Layout
from kreg.regularizers.penalty import Penalty
from kreg.regularizers.strength import Strengths


def penalty_factors(value: Any) -> NDArray[np.float32] | None:
    """Return `value` as an array of finite non-negative numbers, or None."""
    if value is None:
        return None
    try:
        factors = np.array(value, "float32")
    except (TypeError, ValueError):
        raise TypeError(
            "`factors` must be an array of numbers, one for each entry of the "
            f"weight. Received: factors={value!r} "
            f"(of type {type(value).__name__})"
        ) from None
    if not np.isfinite(factors).all() or (factors < 0).any():
        wrong = factors[~(np.isfinite(factors) & (factors >= 0))]
        raise ValueError(
            "`factors` must be finite and non-negative; 0 leaves an entry "
            f"unpenalized. Received: factors with the entry {wrong.flat[0]}"
        )
    factors.setflags(write=False)
    return factors


def check_fit(
    factors: NDArray[np.float32] | None, shape: Sequence[int]
) -> None:
    """Raise if `factors` cannot be broadcast to a weight of `shape`."""
    if factors is None:
        return
    shape = tuple(shape)
    try:
        fits = np.broadcast_shapes(factors.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "`factors` must have the shape of the weight or one that "
            f"broadcasts to it, here {shape}. Received: factors of shape "
            f"{factors.shape}"
        )


class SeparablePenalty(Penalty):
    """Base of penalties that are a sum over entries.

    Args:
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            what the penalty of each entry is multiplied by. Defaults to
            `None`: 1 for all.
        multiplier: float >= 0, what every strength is multiplied by.
    """

    def __init__(self, *, factors: Any = None, multiplier: float = 1.0) -> None:
        super().__init__(multiplier=multiplier)
        self._factors = penalty_factors(factors)

    @property
    def factors(self) -> NDArray[np.float32] | None:
        """What the penalty of each entry is multiplied by; read-only."""
        return self._factors

    @abstractmethod
    def entries_value(
        self,
        w: Tensor,
        strengths: Strengths,
        factors: Tensor | None,
    ) -> Tensor:
        """The penalty of `w`, each entry's multiplied by its factor."""

    @abstractmethod
    def entries_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
    ) -> Tensor:
        """The proximal step where every factor is 1."""

    def grouping(
        self, shape: Sequence[int], layout: Layout | None = None
    ) -> None:
        check_fit(self._factors, shape)

    def value(
        self,
        w: Tensor,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        return self.entries_value(w, strengths, self._factors_like(w))

    def proximal_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        factors = self._factors_like(w)
        if factors is not None:
            # `factor * penalty` at step t is `penalty` at step t * factor.
            effective_step = effective_step * factors
        return self.entries_step(w, effective_step, strengths)

    def _factors_like(self, w: Tensor) -> Tensor | None:
        if self._factors is None:
            return None
        return ops.convert_to_tensor(self._factors, w.dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self._factors is not None:
            config["factors"] = self._factors.tolist()
        return config
