"""Gradients at the minimum of a convex function, found from gradients alone."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kreg.selection.strengths.convex_combination import convex_combination

Vector: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Slope:
    """The gradient of a function at a point.

    Args:
        place: the variables that are minimised over.
        free: the derivatives by these variables.
        fixed: the derivatives by all others, which keep their values.
        value: the value of the function.
    """

    place: Vector
    free: Vector
    fixed: Vector
    value: float

    @property
    def is_finite(self) -> bool:
        """Whether the value and the derivatives by the free are numbers."""
        return math.isfinite(self.value) and bool(np.isfinite(self.free).all())


SlopeAt: TypeAlias = Callable[[Vector], Slope]

_ITERATIONS, _PLANES, _TRIALS, _ENLARGED = 100, 150, 30, 10
# After so many steps to no smaller gradient, only rounding is left.
_STALLED = 4
# As many variables get a curvature of their own before the first step.
_MOST_PROBED = 64
_PAIRS = 20
# A derivative that jumps once over so many distances has no nearer curvature.
_LONE_KINKS = 4
# A relative difference of two values that is no rounding.
_CLEARLY = 1e-6
# As a fraction of the first one, a larger gradient at a minimum is a kink's.
_KINK = 1e-3
# Below this multiple of the largest one, a curvature is rounding.
_FLAT = 1e-7
# The largest derivative that counts as zero: as a fraction of those at the
# start, and of how much rounding of the minimum changes it.
_ZERO_OF_FIRST, _ZERO_OF_ROUNDING = 1e-9, 1e-4


def fixed_slope_at_minimum(slope_at: SlopeAt, start: Vector) -> Vector:
    """The derivatives by the fixed variables where the others are at a minimum.

    The method is limited-memory BFGS, whose steps do not depend on the units of
    the variables: first each of them is moved alone to learn its curvature,
    over a distance that suits its unit. The line search looks at derivatives,
    because values in single precision would hide the last steps.

    A function may have kinks, such as the absolute error. At a kink, a convex
    combination of the gradients around it has the derivatives 0 of a minimum.
    The result is that combination, which a proximal bundle method finds. Away
    from kinks, such a combination takes rounding of the minimum away.

    Args:
        slope_at: returns the gradient at values of the free variables.
        start: the first values.

    Returns:
        The derivatives by the fixed variables; all 0 if they are nothing but
        rounding.

    References:
        Liu and Nocedal, "On the limited memory BFGS method for large scale
        optimization", Mathematical Programming 45, 1989. Lewis and Overton,
        "Nonsmooth optimization via quasi-Newton methods", Mathematical
        Programming 141, 2013.
    """
    search = _Search(slope_at)
    first = search.at(start)
    if not first.free.size:
        return first.fixed
    root = None
    if first.free.size <= _MOST_PROBED:
        root = _root_of_inverse(search, first)
    best = _minimum(search, first, root)
    around = _around(search, best)
    if _size(best, root) > _KINK * _size(first, root):
        combined = _at_kink(search, root, best, around)
    else:
        combined = _combined(search, root, best, around)
    rounding = [_largest(point.fixed - combined.fixed) for point in around]
    limit = max(
        _ZERO_OF_FIRST * _largest(first.fixed),
        _ZERO_OF_ROUNDING * max(rounding, default=0.0),
    )
    if _largest(combined.fixed) <= limit:
        return np.zeros_like(combined.fixed)
    return combined.fixed


class _Search:
    """The gradients on the way to a minimum.

    Args:
        slope_at: returns the gradient at values of the free variables.

    Attributes:
        last: the last gradients.
    """

    def __init__(self, slope_at: SlopeAt) -> None:
        self._slope_at = slope_at
        self.last: deque[Slope] = deque(maxlen=1)

    def at(self, place: Vector) -> Slope:
        """The gradient at a place."""
        slope = self._slope_at(place)
        if not self.last:
            most = min(64, 10 * slope.free.size + 5)
            self.last = deque(maxlen=most)
        if slope.is_finite:
            self.last.append(slope)
        return slope


def _largest(array: Vector) -> float:
    return float(np.abs(array).max(initial=0.0))


def _root_of_inverse(search: _Search, first: Slope) -> Vector:
    """A root of the inverse of the second derivatives by free variables."""
    size = first.free.size
    columns = [_curvature(search, first, i) for i in range(size)]
    curvature = np.stack(columns, axis=1)
    curvature = 0.5 * (curvature + curvature.T)
    diagonal = np.diagonal(curvature)
    unit = np.zeros(size)
    np.divide(1.0, np.sqrt(np.abs(diagonal)), out=unit, where=diagonal > 0.0)
    values, vectors = np.linalg.eigh(unit[:, None] * curvature * unit)
    values = np.maximum(values, _FLAT * max(1.0, values.max()))
    root: Vector = unit[:, None] * vectors / np.sqrt(values)
    return root


def _curvature(search: _Search, first: Slope, index: int) -> Vector:
    """How the derivatives change with one variable, for each unit of it.

    The distance is long enough for a change that rounding does not hide, and
    short enough that a saturated loss does not hide the curvature.
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
    found = change(slope_after(length), first)
    for _ in range(_ENLARGED):
        size = abs(found[index] * length)
        if not size <= 0.1 * abs(own):
            break
        size = max(size, 1e-3 * abs(own), 1e-300)
        length *= max(10.0, abs(own) / size)
        found = change(slope_after(length), first)
    if not found.any():
        return found
    jumps: list[tuple[float, Vector]] = []
    for trial in range(_TRIALS):
        if np.isfinite(found).all() and found[index] > 0.0:
            jumps.append((found[index] * abs(length), found))
        length /= 8.0
        shorter = change(slope_after(length), first)
        if np.isfinite(found).all() and found[index] > 0.0:
            ratio = shorter[index] / found[index]
            if ratio <= 0.0 and len(jumps) > _LONE_KINKS:
                return _of_jumps(jumps, abs(own))
            if ratio <= 0.0 or (not trial and abs(ratio - 1.0) < 1e-2):
                # Not bent between kinks, or a quadratic function.
                return found
            if 0.5 < ratio < 2.0:
                break
        found = shorter
    else:
        return _of_jumps(jumps, abs(own)) if jumps else np.zeros_like(found)
    length /= 8.0
    closer = change(slope_after(length), slope_after(-length))
    if np.isfinite(closer).all() and closer[index] > 0.5 * found[index]:
        return closer
    return found if np.isfinite(found).all() else np.zeros_like(first.free)


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
    """Derivatives in units in which the curvatures are alike."""
    return free if root is None else np.linalg.norm(root, axis=1) * free


def _minimum(search: _Search, first: Slope, root: Vector | None) -> Slope:
    """The point with the smallest gradient that limited-memory BFGS finds."""
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
    """The inverse of the curvature, times derivatives (two-loop recursion)."""
    shares = []
    for moved, bent in reversed(pairs):
        share = (moved @ free) / (moved @ bent)
        free = free - share * bent
        shares.append(share)
    if root is not None:
        result = root @ (free @ root)
    elif pairs:
        moved, bent = pairs[-1]
        result = free * ((moved @ bent) / (bent @ bent))
    else:
        result = free / max(1.0, float(np.linalg.norm(free)))
    for (moved, bent), share in zip(pairs, reversed(shares), strict=True):
        result = result + moved * (share - (bent @ result) / (moved @ bent))
    return result


def _step(
    search: _Search, now: Slope, direction: Vector, steepness: float
) -> Slope:
    """A point along a direction whose derivative along it is small."""
    low, high = (0.0, steepness), (math.inf, math.inf)
    below, above = now, now
    length, nearest = 1.0, (abs(steepness), now)
    for _ in range(_TRIALS):
        point = search.at(now.place + length * direction)
        along = float(point.free @ direction) if point.is_finite else math.inf
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
        share = -low[1] / fall if fall > 0.0 else 0.5
        length = low[0] + width * min(0.9, max(0.1, share))
    return point if nearest[1] is now else nearest[1]


def _around(search: _Search, best: Slope) -> list[Slope]:
    """The gradients at the nearest other numbers, up and down each variable."""
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
# As a multiple of the smallest gradient, one that may be rounding, too.
_SMALL = 10.0
# Twice the distance of two numbers of single precision.
_NEAREST = 2.0 * float(np.finfo("float32").eps)


def _combined(
    search: _Search, root: Vector | None, best: Slope, around: Sequence[Slope]
) -> Slope:
    """The convex combination of small gradients that is closest to 0."""
    most = _SMALL * _size(best, root)
    points = [
        best,
        *(p for p in search.last if _size(p, root) <= most),
        *(p for p in around if p.is_finite),
    ]
    slopes = np.array([_scaled(root, point.free) for point in points])
    shares = convex_combination(slopes @ slopes.T, np.zeros(len(points)))
    return _mean(points, shares)


def _mean(points: Sequence[Slope], shares: Vector) -> Slope:
    pairs = [(s, p) for s, p in zip(shares, points, strict=True) if s > 0.0]
    return Slope(
        points[-1].place,
        np.sum([share * point.free for share, point in pairs], axis=0),
        np.sum([share * point.fixed for share, point in pairs], axis=0),
        float(np.sum([share * point.value for share, point in pairs])),
    )


def _at_kink(
    search: _Search, root: Vector | None, best: Slope, around: Sequence[Slope]
) -> Slope:
    """The combination of gradients around a kink that has the derivatives 0.

    Each gradient is that of a plane below the function. A step goes to the
    minimum of the highest of the planes and a quadratic function around the
    best point; where the function is not lower, there is a plane to add. In the
    end the planes meet at the minimum, and the combination is of theirs alone.
    """
    bundle = [*search.last, *(p for p in around if p.is_finite)]
    step = 1.0
    for _ in range(_PLANES):
        slopes = np.array([_in_basis(root, point.free) for point in bundle])
        below = _below(best, bundle)
        shares = convex_combination(step * slopes @ slopes.T, below)
        slope = shares @ slopes
        expected = float(step * slope @ slope + shares @ below)
        if expected <= _PLANES_MEET * abs(best.value):
            break
        direction = slope if root is None else root @ slope
        point = search.at(best.place - step * direction)
        if not point.is_finite:
            step /= 8.0
            continue
        used = [p for p, share in zip(bundle, shares, strict=True) if share]
        recent = bundle[-_MOST_PLANES:]
        kept = [p for p in used if not any(p is q for q in recent)]
        bundle = [*kept, *recent, point]
        fall = best.value - point.value
        if fall < 0.1 * expected:
            if _below(best, [point])[0] > 0.5 * expected:
                step /= 2.0
            continue
        best = point
        if fall >= 0.5 * expected:
            step *= 2.0
    slopes = np.array([_in_basis(root, point.free) for point in bundle])
    products = _LEVEL * step * slopes @ slopes.T
    shares = convex_combination(products, _below(best, bundle))
    return _mean(bundle, shares)


# Planes meet where they are apart by rounding of the value.
_PLANES_MEET = 2.0 * float(np.finfo("float32").eps)
_MOST_PLANES = 60
# The weight of a combination's derivatives against how far its planes are off.
_LEVEL = 1e4


def _in_basis(root: Vector | None, free: Vector) -> Vector:
    """Derivatives along axes in which the function is about as round."""
    return free if root is None else free @ root


def _below(best: Slope, bundle: Sequence[Slope]) -> Vector:
    """How far the planes of gradients are below the function, at a point."""
    planes = [p.value + p.free @ (best.place - p.place) for p in bundle]
    return np.maximum(best.value - np.array(planes), 0.0)


def _size(slope: Slope, root: Vector | None) -> float:
    return float(np.linalg.norm(_scaled(root, slope.free)))
