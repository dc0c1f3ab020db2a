"""Minimizes a function, smooth or with kinks, from its gradients."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kreg.selection.strengths.bundle import at_kink, combined_around
from kreg.selection.strengths.curvature import root_of_inverse
from kreg.selection.strengths.slopes import (
    CLEARLY,
    Search,
    Slope,
    SlopeAt,
    Vector,
    is_above,
    scaled,
    size_of,
)

_ITERATIONS = 100
_TRIALS = 30
# After this many steps without progress, only rounding is left.
_STALLED = 4
# The maximum number of free variables whose curvature is measured first.
_MOST_PROBED = 64
_PAIRS = 20
# If the gradient at the minimum exceeds this fraction of the first one, there
# is a kink.
_KINK = 1e-3
# The distances of lower points, if variables have no effect at the start, as
# under a ReLU; and where the search ends, at a saddle or far out on a plateau.
_FROM_FLAT_PARTS = [
    sign * 10.0**exponent for sign in (1.0, -1.0) for exponent in range(-6, 4)
]
_FROM_SADDLES = [-16.0, -4.0, -1.0, 1.0, 4.0, 16.0]
_RESTARTS = 4
# The largest derivative that counts as zero: as a fraction of those at the
# start, and of its change when the minimum is rounded.
_ZERO_OF_FIRST = 1e-9
_ZERO_OF_ROUNDING = 1e-4
_MOST_AROUND = 8
# Twice the relative distance of two adjacent numbers in single precision.
_NEAREST = 2.0 * float(np.finfo("float32").eps)
# The fall along a step, as a fraction of what its first derivative promises.
_LEAST_FALL = 0.1


def slope_at_minimum(slope_at: SlopeAt, start: Vector) -> Slope:
    """A subgradient at a minimum over the free variables, zero by these.

    The minimum is found by limited-memory BFGS. To make it independent of the
    units of the variables, each variable is first moved alone to measure its
    curvature, over a distance that suits its unit. The line search uses
    derivatives, because values in single precision do not resolve the last
    steps.

    The function may have kinks, as the absolute error has. At a kink, a convex
    combination of the gradients nearby is zero in the free variables. A
    proximal bundle method finds this combination, which is the result. Away
    from kinks, a combination of gradients near the minimum cancels rounding.

    A function that is not convex may be flat or bent downwards at the start.
    The search then goes on from the lowest points around it, and takes the size
    of the curvature for the curvature. It stays below its start, so it ends at
    a minimum that one can descend to from there.

    Args:
        slope_at: computes the gradient from the values of the free variables.
        start: the initial values of the free variables.

    Returns:
        The minimum, with the value and a subgradient there. The derivatives by
        the fixed variables are all 0 if they are nothing but rounding. They are
        NaN if no minimum was found: the derivatives by the free variables are
        not small where the search ends, and no kink explains them.

    References:
        Liu and Nocedal, "On the limited memory BFGS method for large scale
        optimization", Mathematical Programming 45, 1989. Lewis and Overton,
        "Nonsmooth optimization via quasi-Newton methods", Mathematical
        Programming 141, 2013.
    """
    search = Search(slope_at)
    first = search.at(start)
    if not first.free.size:
        return first
    root, begin = None, first
    if first.free.size <= _MOST_PROBED:
        flat = np.flatnonzero(first.free == 0.0)
        begin = _lower_beside(search, first, flat, _FROM_FLAT_PARTS, 0.0)
        root = root_of_inverse(search, begin)
    best = _minimum(search, begin, root)
    if first.free.size <= _MOST_AROUND:
        everywhere = np.arange(first.free.size)
        for _ in range(_RESTARTS):
            begin = _lower_beside(search, best, everywhere, _FROM_SADDLES)
            if begin is best:
                break
            root = root_of_inverse(search, begin)
            best = _minimum(search, begin, root)
    around = _around(search, best)
    if size_of(best, root) > _KINK * size_of(first, root):
        combined = at_kink(search, root, best, around)
    else:
        combined = combined_around(search, root, best, around)
    if not search.is_flat(combined, root):
        unknown = np.full_like(combined.fixed, math.nan)
        return replace(combined, fixed=unknown)
    rounding = [_largest(point.fixed - combined.fixed) for point in around]
    limit = max(
        _ZERO_OF_FIRST * _largest(first.fixed),
        _ZERO_OF_ROUNDING * max(rounding, default=0.0),
    )
    if _largest(combined.fixed) <= limit:
        return replace(combined, fixed=np.zeros_like(combined.fixed))
    return combined


def _largest(array: Vector) -> float:
    return float(np.abs(array).max(initial=0.0))


def _lower_beside(
    search: Search,
    point: Slope,
    indices: Vector,
    lengths: Sequence[float],
    *origins: float,
) -> Slope:
    """A lower point after moves of single variables, or the same point.

    Args:
        search: evaluates gradients.
        point: where to begin.
        indices: the variables to move, one after another.
        lengths: how far to move, from the present value and the origins.
        *origins: other values of a variable to move from.
    """
    for index in indices:
        lowest = point
        for origin in {point.place[index], *origins}:
            for length in lengths:
                place = point.place.copy()
                place[index] = origin + length
                moved = search.at(place)
                if moved.is_finite and is_above(lowest.value, moved.value):
                    lowest = moved
        point = lowest
    return point


def _minimum(search: Search, first: Slope, root: Vector | None) -> Slope:
    """The best point of limited-memory BFGS."""
    best = now = first
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=_PAIRS)
    stalled = 0
    for _ in range(_ITERATIONS):
        if not now.free.any() or stalled == _STALLED:
            break
        direction = -_times_inverse(root, pairs, now.free)
        if not now.free @ direction < 0.0:
            pairs.clear()
            direction = -_times_inverse(root, pairs, now.free)
        steepness = float(now.free @ direction)
        after = _step(search, now, direction, steepness)
        moved, bent = after.place - now.place, after.free - now.free
        if moved @ bent > 0.0:
            pairs.append((moved, bent))
        now = after
        stalled += 1
        if _is_better(now, best, root):
            best, stalled = now, 0
    return best


def _is_better(now: Slope, best: Slope, root: Vector | None) -> bool:
    """Whether a point has a clearly lower value, or a smaller gradient."""
    least = CLEARLY * abs(best.value)
    if abs(now.value - best.value) > least:
        return now.value < best.value
    sizes = [np.linalg.norm(scaled(root, p.free)) for p in (now, best)]
    return bool(sizes[0] < sizes[1])


def _times_inverse(
    root: Vector | None,
    pairs: Sequence[tuple[Vector, Vector]],
    free: Vector,
) -> Vector:
    """The approximate inverse Hessian times `free`, by two-loop recursion."""
    alphas = []
    for moved, bent in reversed(pairs):
        alpha = (moved @ free) / (moved @ bent)
        free = free - alpha * bent
        alphas.append(alpha)
    if root is not None:
        result = root @ (free @ root)
    elif pairs:
        moved, bent = pairs[-1]
        result = free * ((moved @ bent) / (bent @ bent))
    else:
        result = free / max(1.0, float(np.linalg.norm(free)))
    for (moved, bent), alpha in zip(pairs, reversed(alphas), strict=True):
        result = result + moved * (alpha - (bent @ result) / (moved @ bent))
    return result


def _step(
    search: Search, now: Slope, direction: Vector, steepness: float
) -> Slope:
    """A point along a direction at which the derivative along it is small.

    The value there is lower by a good part of what the derivative at the start
    promises. So a step does not end far out on a plateau.
    """
    low, high = (0.0, steepness), (math.inf, math.inf)
    below, above = now, now
    length, nearest = 1.0, (abs(steepness), now)
    for _ in range(_TRIALS):
        point = search.at(now.place + length * direction)
        along = math.inf
        most = now.value + _LEAST_FALL * length * steepness
        if point.is_finite and not is_above(point.value, most):
            along = float(point.free @ direction)
        if abs(along) < nearest[0]:
            nearest = abs(along), point
        is_between = not any(
            np.array_equal(point.place, end.place) for end in (below, above)
        )
        if abs(along) <= 0.5 * abs(steepness) or not is_between:
            break
        if along < 0.0:
            low, below = (length, along), point
        else:
            high, above = (length, along), point
        if math.isinf(high[0]):
            length *= 4.0
            continue
        width, fall = high[0] - low[0], high[1] - low[1]
        fraction = -low[1] / fall if fall > 0.0 else 0.5
        length = low[0] + width * min(0.9, max(0.1, fraction))
    return point if nearest[1] is now else nearest[1]


def _around(search: Search, best: Slope) -> list[Slope]:
    """The gradients at points that differ by rounding of one variable."""
    size = best.free.size
    if size > _MOST_AROUND:
        return []
    points = []
    for index in range(size):
        for sign in (-1.0, 1.0):
            place = best.place.copy()
            place[index] += sign * _NEAREST * abs(place[index])
            points.append(search.at(place))
    return points
