"""Proximal operators: pure functions of a weight and an effective step.

The proximal operator of a penalty at step t is
`argmin over u of penalty(u) + sum((u - w) ** 2 / (2 * t))`.
"""

from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import group_norms


def soft_threshold(w: Tensor, threshold: Tensor | float) -> Tensor:
    """`argmin over u of threshold * sum(abs(u)) + sum((u - w) ** 2) / 2`.

    The solution is `sign(w) * max(abs(w) - threshold, 0)`; a zero is +0.0.

    Args:
        w: float tensor of any shape.
        threshold: scalar or tensor of w's shape, >= 0.

    Returns:
        A tensor of w's shape.
    """
    # A zero is computed as `w - w`, which is +0.0 for either sign of w.
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

    For `t < gamma` the result is 0 up to `t * strength`, w beyond
    `gamma * strength`, and between the two
    `sign(w) * (abs(w) - t * strength) / (1 - t / gamma)`. For larger steps it
    is 0 up to `strength * sqrt(gamma * t)`, and w beyond.

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

    For larger steps it is the soft threshold up to a cut, and w beyond; at the
    cut both have the same objective. With s the strength, the cut is at
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


# Newton's method finds the norm of a group. It starts at a lower bound. Where
# the effective steps in a group span four decades, four iterations reach single
# precision and six double precision.
_NEWTON_ITERATIONS = 6


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
    and solves `sum((w / (nu + strength * t)) ** 2) == 1`. Newton's method on
    `sum(...) ** -0.5 - 1`, which is concave, finds `nu` from below in a fixed
    number of iterations.

    Args:
        w: float tensor of any shape.
        effective_step: t, scalar or tensor of w's shape, >= 0.
        strength: scalar >= 0.
        groups: which entries belong together.

    Returns:
        A tensor of w's shape, whose zeros are +0.0.
    """
    t = ops.convert_to_tensor(effective_step, w.dtype)
    strength = ops.convert_to_tensor(strength, w.dtype)
    view = groups.grouped(w)
    if len(t.shape) == 0:
        norms = group_norms(w, groups)
        zero = norms <= t * strength
        scale = 1.0 - t * strength / ops.where(zero, 1.0, norms)
    else:
        t = groups.grouped(t)
        zero = _is_pulled_to_zero(view, t, strength, groups)
        # The result of a zero group is not used. Ones in its place keep
        # infinities out of the gradient.
        nonzero = ops.where(zero, 1.0, view)
        nu = _solution_norms(nonzero, t, strength, groups)
        scale = nu / (nu + strength * t)
    return ops.reshape(ops.where(zero, 0.0, view * scale), w.shape)


def _is_pulled_to_zero(
    w: Tensor, t: Tensor, strength: Tensor, groups: Grouping
) -> Tensor:
    """Whether `norm(w / t) <= strength`; where t is 0, w must be 0 too."""
    moving = t > 0
    pull = ops.where(moving, w / ops.where(moving, t, 1.0), 0.0)
    held = ops.where(moving, 0.0, ops.abs(w))
    return ops.logical_and(
        groups.total(ops.square(pull)) <= ops.square(strength),
        groups.largest(held) <= 0,
    )


def _solution_norms(
    w: Tensor, t: Tensor, strength: Tensor, groups: Grouping
) -> Tensor:
    """The norm of each group after the step, for groups that are not zero."""
    tiny = 1e-30
    shift = strength * t
    norms = ops.sqrt(groups.total(ops.square(w)))

    def newton_iteration(_: int, nu: Tensor) -> Tensor:
        terms = ops.square(w / (nu + shift))
        phi = groups.total(terms)
        curvature = groups.total(terms / (nu + shift))
        nu = nu + phi * (ops.sqrt(phi) - 1.0) / ops.maximum(curvature, tiny)
        return ops.maximum(nu, tiny)

    start = ops.maximum(norms - strength * groups.largest(t), tiny)
    return ops.fori_loop(0, _NEWTON_ITERATIONS, newton_iteration, start)
