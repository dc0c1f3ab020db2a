"""Minimizes a function, smooth or with kinks, from its gradients."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kreg.selection.strengths.convex_combination import convex_combination

Vector: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Slope:
    """The value and the gradient of a function at a point.

    Args:
        place: the values of the free variables, over which to minimize.
        free: the derivatives by the free variables.
        fixed: the derivatives by the fixed variables.
        value: the value of the function.
    """

    place: Vector
    free: Vector
    fixed: Vector
    value: float

    @property
    def is_finite(self) -> bool:
        """Whether the value and the derivatives in `free` are finite."""
        return math.isfinite(self.value) and bool(np.isfinite(self.free).all())


SlopeAt: TypeAlias = Callable[[Vector], Slope]

_ITERATIONS, _PLANES, _TRIALS, _ENLARGED = 100, 150, 30, 10
# After this many steps without progress, only rounding is left.
_STALLED = 4
# The maximum number of free variables whose curvature is measured first.
_MOST_PROBED = 64
_PAIRS = 20
# A derivative that jumps once over this many distances has no curvature nearby.
_LONE_KINKS = 4
# A relative difference of two values above this is not due to rounding.
_CLEARLY = 1e-6
# If the gradient at the minimum exceeds this fraction of the first one, there
# is a kink.
_KINK = 1e-3
# Curvatures below this fraction of the largest one are rounding.
_FLAT = 1e-7
# The distances of lower points, if variables have no effect at the start, as
# under a ReLU; and where the search ends, at a saddle or far out on a plateau.
_FROM_FLAT_PARTS = [
    sign * 10.0**exponent for sign in (1.0, -1.0) for exponent in range(-6, 4)
]
_FROM_SADDLES = [-16.0, -4.0, -1.0, 1.0, 4.0, 16.0]
_RESTARTS = 4
# If the combined gradient exceeds this fraction of the largest one on the way,
# it is not that of a minimum.
_SMALL_ENOUGH = 1e-2
# The largest derivative that counts as zero: as a fraction of those at the
# start, and of its change when the minimum is rounded.
_ZERO_OF_FIRST, _ZERO_OF_ROUNDING = 1e-9, 1e-4


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
    search = _Search(slope_at)
    first = search.at(start)
    if not first.free.size:
        return first
    root, begin = None, first
    if first.free.size <= _MOST_PROBED:
        flat = np.flatnonzero(first.free == 0.0)
        begin = _lower_beside(search, first, flat, _FROM_FLAT_PARTS, 0.0)
        root = _root_of_inverse(search, begin)
    best = _minimum(search, begin, root)
    if first.free.size <= _MOST_AROUND:
        everywhere = np.arange(first.free.size)
        for _ in range(_RESTARTS):
            begin = _lower_beside(search, best, everywhere, _FROM_SADDLES)
            if begin is best:
                break
            root = _root_of_inverse(search, begin)
            best = _minimum(search, begin, root)
    around = _around(search, best)
    if _size(best, root) > _KINK * _size(first, root):
        combined = _at_kink(search, root, best, around)
    else:
        combined = _combined(search, root, best, around)
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


class _Search:
    """Evaluates gradients, and keeps the latest.

    Args:
        slope_at: computes the gradient from the values of the free variables.

    Attributes:
        last: the latest finite gradients.
    """

    def __init__(self, slope_at: SlopeAt) -> None:
        self._slope_at = slope_at
        self.last: deque[Slope] = deque(maxlen=1)
        self._highest = math.inf
        self._steepest: Vector = np.zeros(0)

    def at(self, place: Vector) -> Slope:
        """The gradient at some values of the free variables."""
        slope = self._slope_at(place)
        if not self.last:
            most = min(64, 10 * slope.free.size + 5)
            self.last = deque(maxlen=most)
            self._highest = slope.value
            self._steepest = np.abs(slope.free)
        if slope.is_finite:
            self.last.append(slope)
            if slope.value <= self._highest:
                sizes = np.abs(slope.free)
                self._steepest = np.maximum(self._steepest, sizes)
        return slope

    def is_flat(self, combined: Slope, root: Vector | None) -> bool:
        """Whether a gradient is small beside those on the way down."""
        units = np.ones_like(combined.free)
        if root is not None:
            units = np.linalg.norm(root, axis=1)
            # A variable without a curvature has no unit of its own.
            units[units == 0.0] = 1.0
        steepest = float(np.linalg.norm(units * self._steepest))
        size = float(np.linalg.norm(units * combined.free))
        return size <= _SMALL_ENOUGH * steepest


def _largest(array: Vector) -> float:
    return float(np.abs(array).max(initial=0.0))


def _lower_beside(
    search: _Search,
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
                if moved.is_finite and _is_above(lowest.value, moved.value):
                    lowest = moved
        point = lowest
    return point


def _is_above(value: float, other: float) -> bool:
    """Whether a value is above another one by more than rounding."""
    return value - other > _CLEARLY * max(abs(value), abs(other))


def _root_of_inverse(search: _Search, first: Slope) -> Vector:
    """A matrix square root of the inverse Hessian by the free variables.

    Where the function bends downwards, the curvature counts by its size.
    """
    size = first.free.size
    columns = [_curvature(search, first, i) for i in range(size)]
    curvature = np.stack(columns, axis=1)
    curvature = 0.5 * (curvature + curvature.T)
    diagonal = np.diagonal(curvature)
    unit = np.zeros(size)
    np.divide(1.0, np.sqrt(np.abs(diagonal)), out=unit, where=diagonal != 0.0)
    values, vectors = np.linalg.eigh(unit[:, None] * curvature * unit)
    values = np.abs(values)
    values = np.maximum(values, _FLAT * max(1.0, values.max()))
    root: Vector = unit[:, None] * vectors / np.sqrt(values)
    return root


def _curvature(search: _Search, first: Slope, index: int) -> Vector:
    """A column of the Hessian: the second derivatives by one variable.

    It is a finite difference. The distance is long enough for the change to
    exceed rounding, and short enough to stay where the loss is not saturated.
    """

    def slope_after(length: float) -> Slope:
        place = first.place.copy()
        place[index] += length
        return search.at(place)

    def change(one: Slope, other: Slope) -> Vector:
        moved = one.place[index] - other.place[index]
        if moved == 0.0 or not (one.is_finite and other.is_finite):
            return np.full_like(first.free, math.inf if moved else 0.0)
        return (one.free - other.free) / moved

    own = first.free[index]
    length = -1.0 if own > 0.0 else 1.0
    column = change(slope_after(length), first)
    for _ in range(_ENLARGED):
        size = abs(column[index] * length)
        if not size <= 0.1 * abs(own):
            break
        size = max(size, 1e-3 * abs(own), 1e-300)
        length *= max(10.0, abs(own) / size)
        column = change(slope_after(length), first)
    if not column.any():
        return column
    jumps: list[tuple[float, Vector]] = []
    for trial in range(_TRIALS):
        if np.isfinite(column).all() and column[index] < 0.0:
            # The function bends downwards, by much.
            return column
        if np.isfinite(column).all() and column[index] > 0.0:
            jumps.append((column[index] * abs(length), column))
        length /= 8.0
        shorter = change(slope_after(length), first)
        if np.isfinite(column).all() and column[index] > 0.0:
            ratio = shorter[index] / column[index]
            if ratio <= 0.0 and len(jumps) > _LONE_KINKS:
                return _of_jumps(jumps, abs(own))
            if ratio <= 0.0 or (not trial and abs(ratio - 1.0) < 1e-2):
                # The function is linear between kinks, or quadratic.
                return column
            if 0.5 < ratio < 2.0:
                break
        column = shorter
    else:
        return _of_jumps(jumps, abs(own)) if jumps else np.zeros_like(column)
    length /= 8.0
    closer = change(slope_after(length), slope_after(-length))
    if np.isfinite(closer).all() and closer[index] > 0.5 * column[index]:
        return closer
    return column if np.isfinite(column).all() else np.zeros_like(first.free)


def _of_jumps(jumps: Sequence[tuple[float, Vector]], own: float) -> Vector:
    """The curvature of a function that is bent at kinks alone.

    The derivative jumps at the start or close to it, as where targets are all
    alike in many rows. So its change over the shortest distances says nothing.
    What counts is the distance over which it changes by as much as itself, or
    by twice the nearest jump.

    Args:
        jumps: the change of the derivative over several distances, the longest
            first, and the curvature by each.
        own: the size of the derivative.
    """
    wanted = max(own, 2.0 * jumps[-1][0])
    return min(jumps, key=lambda jump: abs(math.log(jump[0] / wanted)))[1]


def _scaled(root: Vector | None, free: Vector) -> Vector:
    """Derivatives in units in which all variables have similar curvatures."""
    return free if root is None else np.linalg.norm(root, axis=1) * free


def _minimum(search: _Search, first: Slope, root: Vector | None) -> Slope:
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
    least = _CLEARLY * abs(best.value)
    if abs(now.value - best.value) > least:
        return now.value < best.value
    sizes = [np.linalg.norm(_scaled(root, p.free)) for p in (now, best)]
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
    search: _Search, now: Slope, direction: Vector, steepness: float
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
        if point.is_finite and not _is_above(point.value, most):
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


# The fall along a step, as a fraction of what its first derivative promises.
_LEAST_FALL = 0.1


def _around(search: _Search, best: Slope) -> list[Slope]:
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


_MOST_AROUND = 8
# Gradients up to this multiple of the smallest one may be rounding, too.
_SMALL = 10.0
# Twice the relative distance of two adjacent numbers in single precision.
_NEAREST = 2.0 * float(np.finfo("float32").eps)


def _combined(
    search: _Search, root: Vector | None, best: Slope, around: Sequence[Slope]
) -> Slope:
    """The convex combination of small gradients that is closest to zero."""
    most = _SMALL * _size(best, root)
    points = [
        best,
        *(p for p in search.last if _size(p, root) <= most),
        *(p for p in around if p.is_finite),
    ]
    points = [p for p in points if _is_plane_below(best, p)]
    slopes = np.array([_scaled(root, point.free) for point in points])
    weights = convex_combination(slopes @ slopes.T, np.zeros(len(points)))
    return _mean(best, points, weights)


def _mean(best: Slope, points: Sequence[Slope], weights: Vector) -> Slope:
    pairs = [(w, p) for w, p in zip(weights, points, strict=True) if w > 0.0]
    return Slope(
        best.place,
        np.sum([weight * point.free for weight, point in pairs], axis=0),
        np.sum([weight * point.fixed for weight, point in pairs], axis=0),
        best.value,
    )


def _at_kink(
    search: _Search, root: Vector | None, best: Slope, around: Sequence[Slope]
) -> Slope:
    """The convex combination of gradients around a kink that is zero.

    This is a proximal bundle method. Each gradient defines a plane below the
    function. A step goes to the minimum of the maximum of all planes plus a
    quadratic term around the best point. If the function is not lower there,
    its gradient adds a plane. In the end, planes meet at the minimum, and only
    their gradients are combined. Planes above the function, which are those of
    one that is not convex, are left out.
    """
    bundle = [best, *search.last, *(p for p in around if p.is_finite)]
    step = 1.0
    for _ in range(_PLANES):
        bundle = [p for p in bundle if _is_plane_below(best, p)]
        slopes = np.array([_in_basis(root, point.free) for point in bundle])
        below = _below(best, bundle)
        weights = convex_combination(step * slopes @ slopes.T, below)
        slope = weights @ slopes
        expected = float(step * slope @ slope + weights @ below)
        if expected <= _PLANES_MEET * abs(best.value):
            break
        direction = slope if root is None else root @ slope
        point = search.at(best.place - step * direction)
        if not point.is_finite:
            step /= 8.0
            continue
        used = [p for p, weight in zip(bundle, weights, strict=True) if weight]
        recent = bundle[-_MOST_PLANES:]
        kept = [p for p in used if not any(p is q for q in recent)]
        bundle = [*kept, *recent, point]
        fall = best.value - point.value
        if fall < 0.1 * expected:
            is_cut = _is_plane_below(best, point)
            if not is_cut or _below(best, [point])[0] > 0.5 * expected:
                step /= 2.0
            continue
        best = point
        if fall >= 0.5 * expected:
            step *= 2.0
    bundle = [p for p in bundle if _is_plane_below(best, p)]
    slopes = np.array([_in_basis(root, point.free) for point in bundle])
    products = _LEVEL * step * slopes @ slopes.T
    weights = convex_combination(products, _below(best, bundle))
    return _mean(best, bundle, weights)


# Planes count as meeting if their distance is rounding of the value.
_PLANES_MEET = 2.0 * float(np.finfo("float32").eps)
_MOST_PLANES = 60
# The weight of the combined gradient's size against the distance of its planes
# from the function.
_LEVEL = 1e4


def _in_basis(root: Vector | None, free: Vector) -> Vector:
    """Derivatives along axes in which all curvatures are about 1."""
    return free if root is None else free @ root


def _is_plane_below(best: Slope, point: Slope) -> bool:
    """Whether a gradient's plane is not clearly above the function at `best`.

    If it is above, then the function is not convex between the two points.
    """
    moved = best.place - point.place
    plane = point.value + point.free @ moved
    sizes = abs(point.value) + np.abs(point.free) @ np.abs(moved)
    return not plane - best.value > _CLEARLY * (abs(best.value) + sizes)


def _below(best: Slope, bundle: Sequence[Slope]) -> Vector:
    """The distances of the gradients' planes below the function at `best`."""
    planes = [p.value + p.free @ (best.place - p.place) for p in bundle]
    return np.maximum(best.value - np.array(planes), 0.0)


def _size(slope: Slope, root: Vector | None) -> float:
    return float(np.linalg.norm(_scaled(root, slope.free)))
