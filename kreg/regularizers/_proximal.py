"""Proximal operators: pure functions of a weight and an effective step.

The proximal operator of a penalty at step t is
`argmin over u of penalty(u) + sum((u - w) ** 2 / (2 * t))`.
"""

import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import (
    group_norms,
    larger,
    smaller,
    summable_dtype,
)


def soft_threshold(w: Tensor, threshold: Tensor | float) -> Tensor:
    """`argmin over u of threshold * sum(abs(u)) + sum((u - w) ** 2) / 2`.

    The solution is `sign(w) * max(abs(w) - threshold, 0)`; a zero is +0.0.

    Args:
        w: float tensor of any shape.
        threshold: scalar or tensor of w's shape, >= 0.

    Returns:
        A tensor of w's shape.
    """
    # On torch `clip` would convert a Python number to single precision.
    threshold = ops.convert_to_tensor(threshold, w.dtype)
    # A zero is computed as `w - w`, which is +0.0 for either sign of w.
    return w - ops.clip(w, -threshold, threshold)


def ridge_shrink(w: Tensor, amount: Tensor | float) -> Tensor:
    """`argmin over u of amount * sum(u ** 2) + sum((u - w) ** 2) / 2`.

    The solution is `w / (1 + 2 * amount)`; a zero is +0.0.

    Args:
        w: float tensor of any shape.
        amount: scalar or tensor of w's shape, >= 0.

    Returns:
        A tensor of w's shape.
    """
    # XLA fuses a product with the operations that use it, but not a quotient.
    return _positive_zeros(w * (1.0 / (1.0 + 2.0 * amount)))


def _positive_zeros(w: Tensor) -> Tensor:
    """`w` with -0.0, as from a product or quotient, replaced by +0.0."""
    return ops.where(w == 0, ops.zeros_like(w), w)


def firm_threshold(
    w: Tensor,
    effective_step: Tensor | float,
    strength: Tensor | float,
    gamma: float,
) -> Tensor:
    """The proximal operator of the minimax concave penalty.

    `argmin over u of sum(mcp(u)) + sum((u - w) ** 2 / (2 * t))`, where `mcp(u)`
    is `strength * abs(u) - u ** 2 / (2 * gamma)` up to `gamma * strength` and
    constant beyond.

    For `t < gamma` the result is 0 if `abs(w) <= t * strength`, w if
    `abs(w) >= gamma * strength`, and in between
    `sign(w) * (abs(w) - t * strength) / (1 - t / gamma)`. For larger steps it
    is 0 if `abs(w) <= strength * sqrt(gamma * t)`, and otherwise w.

    Args:
        w: float tensor of any shape.
        effective_step: t, scalar or tensor of w's shape, >= 0.
        strength: scalar >= 0.
        gamma: float > 0.

    Returns:
        A tensor of w's shape.
    """
    t = ops.convert_to_tensor(effective_step, w.dtype)
    strength = ops.convert_to_tensor(strength, w.dtype)
    convex = t < gamma
    soft = soft_threshold(w, t * strength)
    firm = soft / (1.0 - ops.where(convex, t, 0.0) / gamma)
    untouched = ops.where(
        convex,
        gamma * strength,
        strength * ops.sqrt(gamma * ops.where(convex, gamma, t)),
    )
    inside = ops.where(convex, firm, ops.zeros_like(w))
    return ops.where(ops.abs(w) > untouched, w, inside)


def clipped_threshold(
    w: Tensor,
    effective_step: Tensor | float,
    strength: Tensor | float,
    a: float,
) -> Tensor:
    """The proximal operator of the smoothly clipped absolute deviation.

    `argmin over u of sum(scad(u)) + sum((u - w) ** 2 / (2 * t))`, where the
    slope of `scad(u)` is `strength` up to `strength`, from there falls to 0 at
    `a * strength`, and is 0 beyond.

    For `t < a - 1` the result is the soft threshold by `t * strength` up to
    `(1 + t) * strength`, w beyond `a * strength`, and between the two
    `sign(w) * (abs(w) - t * a * strength / (a - 1)) / (1 - t / (a - 1))`.

    For larger steps it is the soft threshold up to a cut, and w beyond the cut,
    where both have the same objective. With s the strength, the cut is at
    `s * (a + 1 + t) / 2` for `t <= a + 1`. For still larger steps it is at
    `s * sqrt((a + 1) * t)`, and the soft threshold below it is 0.

    Args:
        w: float tensor of any shape.
        effective_step: t, scalar or tensor of w's shape, >= 0.
        strength: scalar >= 0.
        a: float > 2.

    Returns:
        A tensor of w's shape.
    """
    t = ops.convert_to_tensor(effective_step, w.dtype)
    strength = ops.convert_to_tensor(strength, w.dtype)
    convex = t < a - 1.0
    size = ops.abs(w)
    soft = soft_threshold(w, t * strength)
    between = soft_threshold(w, t * strength * (a / (a - 1.0))) / (
        1.0 - ops.where(convex, t, 0.0) / (a - 1.0)
    )
    inside = ops.where(
        ops.logical_and(convex, size > (1.0 + t) * strength), between, soft
    )
    cut = ops.where(
        t <= a + 1.0,
        (a + 1.0 + t) / 2.0,
        ops.sqrt((a + 1.0) * ops.where(t <= a + 1.0, a + 1.0, t)),
    )
    untouched = strength * ops.where(convex, a, cut)
    return ops.where(size > untouched, w, inside)


def group_soft_threshold(
    w: Tensor,
    effective_step: Tensor | float,
    strength: Tensor | float,
    groups: Grouping,
) -> Tensor:
    """`argmin over u of strength * sum(norms(u)) + sum((u - w)**2 / (2 * t))`.

    With one effective step for all entries, a group is scaled by
    `max(1 - t * strength / norm(w), 0)`.

    With a step for each entry, a group is zero where `norm(w / t) <= strength`.
    Elsewhere it is `w * nu / (nu + strength * t)`, where `nu` is its new norm
    and solves `sum((w / (nu + strength * t)) ** 2) == 1`.

    Args:
        w: float tensor of any shape.
        effective_step: t, scalar or tensor of w's shape, >= 0.
        strength: scalar >= 0.
        groups: the groups of entries.

    Returns:
        A tensor of w's shape, whose zeros are +0.0.
    """
    t = ops.convert_to_tensor(effective_step, w.dtype)
    shift = t * ops.convert_to_tensor(strength, w.dtype)
    view = groups.grouped(w)
    if len(shift.shape) == 0:
        norms = group_norms(w, groups)
        zero = ops.logical_and(norms <= shift, shift > 0)
        scale = 1.0 - shift / ops.where(norms > shift, norms, 1.0)
    else:
        shift = groups.grouped(shift)
        zero = groups.total(_squared_ratios(view, shift)) <= 1
        # The result of a zero group is not used. These numbers replace its
        # entries to keep infinities out of the gradient.
        moved = ops.where(zero, 1.0, view)
        shift = ops.where(zero, 0.0, shift)
        nu = _solution_norms(moved, shift, groups)
        scale = nu / (nu + shift)
    stepped = ops.where(zero, 0.0, view * scale)
    return ops.reshape(_positive_zeros(stepped), w.shape)


def _squared_ratios(w: Tensor, shift: Tensor) -> Tensor:
    """`min((w / shift) ** 2, 4)`, with 0 for `0 / 0`."""
    moving = shift > 0
    ratios = ops.abs(w) / ops.where(moving, shift, 1.0)
    two = ops.full_like(w, 2.0)
    held = ops.where(w == 0, 0.0, two)
    return ops.square(ops.where(moving, smaller(ratios, two), held))


_MOST_ITERATIONS = 100


def _solution_norms(w: Tensor, shift: Tensor, groups: Grouping) -> Tensor:
    """The norm `nu` of each group after the step, for groups that are not zero.

    It solves `phi(nu) == 1` with `phi(nu) = sum((w / (nu + shift)) ** 2)`.
    Newton's method on `phi ** -0.5 - 1`, which is concave, converges from
    below. It takes three or four iterations, and more if the shifts in a group
    span many orders of magnitude.

    Args:
        w: the weight, in the view of the groups.
        shift: `strength * t` in the same view.
        groups: the groups; all must have `phi(0) > 1`.
    """
    precision = np.finfo(summable_dtype(w))
    tiny = ops.full_like(w, precision.tiny)

    def newton_iteration(
        nu: Tensor, w: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        divisor = larger(nu + shift, tiny)
        terms = ops.square(w / divisor)
        phi = groups.total(terms)
        excess = ops.sqrt(phi) - 1.0
        return nu + phi * excess / groups.total(terms / divisor), excess

    fixed_w, fixed_shift = ops.stop_gradient(w), ops.stop_gradient(shift)
    start = _lower_bounds(fixed_w, fixed_shift, groups)
    nu, _ = ops.while_loop(
        lambda nu, excess: ops.any(excess > 4.0 * precision.eps),
        lambda nu, excess: newton_iteration(nu, fixed_w, fixed_shift),
        (start, ops.ones_like(start)),
        maximum_iterations=_MOST_ITERATIONS,
    )
    # One more iteration outside the loop makes the gradient right: at the
    # solution, its derivative is that of the solution.
    return newton_iteration(nu, w, shift)[0]


def _lower_bounds(w: Tensor, shift: Tensor, groups: Grouping) -> Tensor:
    """Lower bounds of the norms after the step, at which `phi` is finite.

    They follow from two facts: at the solution no term of `phi` exceeds 1, and
    `phi` only decreases if all shifts are replaced by the largest.
    """
    size = ops.abs(w)
    largest = groups.largest(size)
    norms = largest * ops.sqrt(groups.total(ops.square(w / largest)))
    bounds = larger(groups.largest(size - shift), norms - groups.largest(shift))
    return ops.relu(bounds)
