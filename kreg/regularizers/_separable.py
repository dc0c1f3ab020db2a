"""The base class of penalties that are sums over entries, with factors."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._arguments import wrong_type
from kreg._types import Tensor
from kreg.regularizers.argument import Argument
from kreg.regularizers.grouping import Grouping, Layout
from kreg.regularizers.norms import Entries
from kreg.regularizers.penalty import Penalty
from kreg.regularizers.strength import Strengths, times


def _penalty_factors(name: str, value: Any) -> NDArray[np.float64] | None:
    """Return `value` as an array of finite non-negative numbers, or None."""
    if value is None:
        return None
    expected = "an array of numbers, one for each entry of the weight"
    try:
        array = np.asarray(value)
        factors = np.array(value, "float64")
    except (OverflowError, TypeError, ValueError):
        raise wrong_type(name, expected, value) from None
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise wrong_type(name, expected, value)
    if not np.isfinite(factors).all() or (factors < 0).any():
        wrong = factors[~(np.isfinite(factors) & (factors >= 0))]
        raise ValueError(
            f"`{name}` must be finite and non-negative; 0 leaves an entry "
            f"unpenalized. Received: {name} with the entry {wrong.flat[0]}"
        )
    factors.setflags(write=False)
    return factors


def _check_fit(
    factors: NDArray[np.float64] | None, shape: Sequence[int]
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

    A subclass defines the penalty without factors, by three members:
    `entries_value`, `entries_step` and `entries_weak_convexity`. This class
    applies the factors.

    Args:
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            which multiplies the penalty of each entry. Defaults to `None`: 1
            for all.
        multiplier: float >= 0, which multiplies every strength.
    """

    factors = Argument(_penalty_factors)
    """The factor of the penalty of each entry; None for 1."""

    def __init__(self, *, factors: Any = None, multiplier: float = 1.0) -> None:
        super().__init__(multiplier=multiplier)
        self.factors = factors

    @abstractmethod
    def entries_value(
        self, w: Tensor, strengths: Strengths
    ) -> Sequence[tuple[Tensor | float, Entries]]:
        """The penalty of each entry: a sum of coefficients times entries.

        Args:
            w: float tensor of any shape.
            strengths: the strengths by name.

        Returns:
            Pairs of a scalar and `Entries` of w's shape: `Sizes(w)`,
            `Squares(w)`, or `Values` of any tensor.
        """

    @abstractmethod
    def entries_step(
        self, w: Tensor, effective_step: Tensor | float, strengths: Strengths
    ) -> Tensor:
        """The proximal step of each entry; see `proximal_step`."""

    @property
    @abstractmethod
    def entries_weak_convexity(self) -> float:
        """The `weak_convexity` of one entry: minus the least second derivative.

        It is the largest over all strengths; 0.0 for a convex penalty.
        """

    @property
    def weak_convexity(self) -> float:
        largest = 1.0 if self.factors is None else float(self.factors.max())
        return self.entries_weak_convexity * largest

    def grouping(
        self, shape: Sequence[int], layout: Layout | None = None
    ) -> None:
        _check_fit(self.factors, shape)

    def value(
        self,
        w: Tensor,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        factors = self._factors_like(w)
        return reduce(
            add,
            (
                times(coefficient, partial(entries.total, factors))
                for coefficient, entries in self.entries_value(w, strengths)
            ),
        )

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
        if self.factors is None:
            return None
        return ops.convert_to_tensor(self.factors, w.dtype)
