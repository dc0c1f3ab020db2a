"""`Grouping`: groups of a weight's entries, such as its units and inputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from keras import ops

from kreg._types import Tensor


@dataclass(frozen=True)
class Grouping:
    """A partition of a weight's entries into groups of equal size.

    Args:
        view: the shape to which the weight is reshaped. It differs from the
            weight's own shape if a layer packs several parts into one axis, as
            an LSTM does with its gates.
        axes: the axes of the view that lie inside a group; empty if every entry
            is a group of its own.
    """

    view: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of entries in a group."""
        return math.prod(self.view[axis] for axis in self.axes)

    @property
    def count(self) -> int:
        """The number of groups."""
        return math.prod(
            n for axis, n in enumerate(self.view) if axis not in self.axes
        )

    def grouped(self, w: Tensor) -> Tensor:
        """Reshape `w`, or an array of its shape, to the view."""
        return ops.reshape(w, self.view)

    def total(self, x: Tensor) -> Tensor:
        """The sum of the view `x` over each group, with axes of length 1."""
        return ops.sum(x, axis=self.axes, keepdims=True) if self.axes else x

    def largest(self, x: Tensor) -> Tensor:
        """The maximum of the view `x` in each group, with axes of length 1."""
        return ops.max(x, axis=self.axes, keepdims=True) if self.axes else x

    def as_rows(self, w: Tensor) -> Tensor:
        """The entries of `w` as a matrix with a row for each group."""
        view = ops.transpose(self.grouped(w), self._order)
        return ops.reshape(view, (self.count, self.size))

    def from_rows(self, rows: Tensor, shape: Sequence[int]) -> Tensor:
        """The inverse of `as_rows` for a weight of `shape`."""
        view = ops.reshape(rows, [self.view[axis] for axis in self._order])
        back = [int(axis) for axis in np.argsort(self._order)]
        return ops.reshape(ops.transpose(view, back), shape)

    @property
    def _order(self) -> list[int]:
        """The axes of the view, with those inside a group last."""
        between = [a for a in range(len(self.view)) if a not in self.axes]
        return [*between, *self.axes]


def along(shape: Sequence[int], axes: Sequence[int]) -> Grouping:
    """Groups along `axes`, which may be negative, of a weight of `shape`."""
    rank = len(shape)
    return Grouping(
        tuple(int(n) for n in shape),
        tuple(sorted(axis % rank for axis in axes)),
    )


def all_but(shape: Sequence[int], axis: int) -> Grouping:
    """Groups along all axes of a weight of `shape` but one."""
    rank = len(shape)
    return along(shape, [a for a in range(rank) if a != axis % rank])


UnitsAndInputs: TypeAlias = tuple[Grouping, Grouping | None]
"""The grouping of a weight by unit, and that by input or None."""


def each_alone(shape: Sequence[int]) -> UnitsAndInputs:
    """The units and inputs of a bias: each entry is a unit; no inputs."""
    return along(shape, ()), None


@dataclass(frozen=True)
class Layout:
    """The groupings of a weight by units and by inputs.

    Args:
        owner: the class of the layer that owns the weight, for messages.
        units: the incoming weights of each output channel; None if unknown.
        inputs: the outgoing weights of each input channel; None if unknown.
    """

    owner: str
    units: Grouping | None = None
    inputs: Grouping | None = None
