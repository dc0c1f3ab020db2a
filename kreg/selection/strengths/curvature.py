"""Measures the curvature of a function from differences of its gradients."""

import math
from collections.abc import Sequence

import numpy as np

from kreg.selection.strengths.slopes import Search, Slope, Vector

_TRIALS = 30
_ENLARGED = 10
# A derivative that jumps once over this many distances has no curvature nearby.
_LONE_KINKS = 4
# Curvatures below this fraction of the largest one are rounding.
_FLAT = 1e-7


def root_of_inverse(search: Search, first: Slope) -> Vector:
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


def _curvature(search: Search, first: Slope, index: int) -> Vector:
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
