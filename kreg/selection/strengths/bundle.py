"""Combines gradients around a minimum, so that they cancel there."""

from collections.abc import Sequence

import numpy as np

from kreg.selection.strengths.convex_combination import convex_combination
from kreg.selection.strengths.slopes import (
    CLEARLY,
    Search,
    Slope,
    Vector,
    scaled,
    size_of,
)

_PLANES = 150
# Planes count as meeting if their distance is rounding of the value.
_PLANES_MEET = 2.0 * float(np.finfo("float32").eps)
_MOST_PLANES = 60
# The weight of the combined gradient's size against the distance of its planes
# from the function.
_LEVEL = 1e4
# Gradients up to this multiple of the smallest one may be rounding, too.
_SMALL = 10.0


def at_kink(
    search: Search, root: Vector | None, best: Slope, around: Sequence[Slope]
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


def combined_around(
    search: Search, root: Vector | None, best: Slope, around: Sequence[Slope]
) -> Slope:
    """The convex combination of small gradients that is closest to zero."""
    most = _SMALL * size_of(best, root)
    points = [
        best,
        *(p for p in search.last if size_of(p, root) <= most),
        *(p for p in around if p.is_finite),
    ]
    points = [p for p in points if _is_plane_below(best, p)]
    slopes = np.array([scaled(root, point.free) for point in points])
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
    return not plane - best.value > CLEARLY * (abs(best.value) + sizes)


def _below(best: Slope, bundle: Sequence[Slope]) -> Vector:
    """The distances of the gradients' planes below the function at `best`."""
    planes = [p.value + p.free @ (best.place - p.place) for p in bundle]
    return np.maximum(best.value - np.array(planes), 0.0)
