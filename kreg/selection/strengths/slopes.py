"""Gradients of a function at points, and what compares them."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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

# A relative difference of two values above this is not due to rounding.
CLEARLY = 1e-6
# If the combined gradient exceeds this fraction of the largest one on the way,
# it is not that of a minimum.
_SMALL_ENOUGH = 1e-2


class Search:
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


def is_above(value: float, other: float) -> bool:
    """Whether a value is above another one by more than rounding."""
    return value - other > CLEARLY * max(abs(value), abs(other))


def scaled(root: Vector | None, free: Vector) -> Vector:
    """Derivatives in units in which all variables have similar curvatures."""
    return free if root is None else np.linalg.norm(root, axis=1) * free


def size_of(slope: Slope, root: Vector | None) -> float:
    """The norm of the derivatives by the free variables, in these units."""
    return float(np.linalg.norm(scaled(root, slope.free)))
