"""Proximal operators: pure functions of a weight and an effective step.

The proximal operator of a penalty at step t is
`argmin over u of penalty(u) + sum((u - w) ** 2 / (2 * t))`.
"""

from keras import ops

from kreg._types import Tensor


def soft_threshold(w: Tensor, threshold: Tensor | float) -> Tensor:
    """`argmin over u of threshold * sum(abs(u)) + sum((u - w) ** 2) / 2`.

    The solution is `sign(w) * max(abs(w) - threshold, 0)`; a zero is +0.0.

    Args:
        w: float tensor of any shape.
        threshold: scalar or tensor of w's shape, >= 0.

    Returns:
        A tensor of w's shape.
    """
    # As `w - w` where nothing is left, which is +0.0 on either side.
    return w - ops.clip(w, -threshold, threshold)


def ridge_shrink(w: Tensor, amount: Tensor | float) -> Tensor:
    """`argmin over u of amount * sum(u ** 2) + sum((u - w) ** 2) / 2`.

    The solution is `w / (1 + 2 * amount)`.

    Args:
        w: float tensor of any shape.
        amount: scalar or tensor of w's shape, >= 0.

    Returns:
        A tensor of w's shape.
    """
    return w / (1.0 + 2.0 * amount)
