"""Penalty factors: how strongly each entry is penalized."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
