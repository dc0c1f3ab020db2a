"""`TiedGroups`: groups whose entries lie in several weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping, along
from kreg.regularizers.penalty import Penalty
from kreg.regularizers.strength import Strengths, cast_strengths

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Slices:
    """The part of one weight in groups that span several weights.

    A group contains whole slices of the weight along one axis.

    Args:
        view: the shape to which the weight is reshaped.
        axis: the axis of the view that numbers the slices.
        numbers: for each slice the number of its group, or -1 for a slice in no
            group.
    """

    view: tuple[int, ...]
    axis: int
    numbers: Numbers

    def as_rows(self, w: Tensor, positions: Numbers) -> Tensor:
        """Slices of `w`, as a matrix.

        Args:
            w: the weight, or a tensor of its shape.
            positions: the positions of the slices along the axis, of shape
                (groups, slices per group).

        Returns:
            A tensor with a row for each group.
        """
        view = ops.transpose(ops.reshape(w, self.view), self._order)
        if not _is_range(positions, self.view[self.axis]):
            view = ops.take(view, positions.ravel(), axis=0)
        count, number = positions.shape
        return ops.reshape(view, (count, number * self.size))

    def with_rows(
        self, w: Tensor, rows: Sequence[tuple[Tensor, Numbers]]
    ) -> Tensor:
        """`w` with some slices replaced; the inverse of `as_rows`.

        Args:
            w: the weight, or a tensor of its shape.
            rows: matrices as `as_rows` returns them, with the positions of
                their slices. Other slices are kept.
        """
        length, shape = self.view[self.axis], tuple(w.shape)
        slices = ops.concatenate(
            [ops.reshape(matrix, (-1, self.size)) for matrix, _ in rows], axis=0
        )
        positions = np.concatenate([p.ravel() for _, p in rows])
        if not _is_range(positions, length):
            places = np.zeros(length, np.int64)
            places[positions] = np.arange(len(positions))
            slices = ops.take(slices, places, axis=0)
        view = ops.reshape(slices, [self.view[axis] for axis in self._order])
        back = [int(axis) for axis in np.argsort(self._order)]
        view = ops.cast(ops.transpose(view, back), w.dtype)
        if len(positions) < length:
            shape_of_mask = [1] * len(self.view)
            shape_of_mask[self.axis] = length
            is_new = np.isin(np.arange(length), positions)
            view = ops.where(
                is_new.reshape(shape_of_mask),
                view,
                ops.reshape(w, self.view),
            )
        return ops.reshape(view, shape)

    @property
    def size(self) -> int:
        """The number of entries of a slice."""
        return int(np.prod(self.view, dtype=int)) // self.view[self.axis]

    @property
    def _order(self) -> list[int]:
        """The axes of the view, with that of the slices first."""
        others = [a for a in range(len(self.view)) if a != self.axis]
        return [self.axis, *others]


def _is_range(positions: Numbers, length: int) -> bool:
    """Whether the positions are `range(length)`."""
    return np.array_equal(positions.ravel(), np.arange(length))


class TiedGroups:
    """Groups whose entries lie in several weights.

    Groups may differ in size. A penalty gets the groups of one kind at a time,
    those that have equal numbers of slices in each weight.

    Args:
        parts: how each of the weights is cut into groups. Group i consists of
            the slices with number i of all parts.
    """

    def __init__(self, parts: Sequence[Slices]) -> None:
        self.parts = tuple(parts)
        highest = max(int(part.numbers.max()) for part in parts)
        slices = np.array(
            [
                np.bincount(part.numbers + 1, minlength=highest + 2)[1:]
                for part in parts
            ]
        )
        kinds, kind_of = np.unique(slices, axis=1, return_inverse=True)
        # For each kind, the positions of its slices in each part.
        self._kinds = [
            [
                _positions(part.numbers, np.flatnonzero(kind_of.ravel() == i))
                for part in parts
            ]
            for i, numbers in enumerate(kinds.T)
            if numbers.any()
        ]

    @property
    def count(self) -> int:
        """The number of groups."""
        return sum(len(kind[0]) for kind in self._kinds)

    def joined(
        self, tensors: Sequence[Tensor]
    ) -> list[tuple[Tensor, Grouping]]:
        """A tensor for each weight as matrices, with a row for each group.

        Returns:
            A matrix for each kind of groups, and its rows as groups.
        """
        return [self._joined(tensors, kind) for kind in self._kinds]

    def _joined(
        self, tensors: Sequence[Tensor], kind: Sequence[Numbers]
    ) -> tuple[Tensor, Grouping]:
        rows = [
            part.as_rows(tensor, positions)
            for part, tensor, positions in zip(
                self.parts, tensors, kind, strict=True
            )
            if positions.size
        ]
        dtype = keras.backend.result_type(*(row.dtype for row in rows))
        matrix = ops.concatenate([ops.cast(row, dtype) for row in rows], axis=1)
        return matrix, along(matrix.shape, (1,))

    def parted(
        self, matrices: Sequence[Tensor], like: Sequence[Tensor]
    ) -> list[Tensor]:
        """The inverse of `joined`.

        Args:
            matrices: a matrix for each kind of groups.
            like: a tensor for each weight, with the entries of no group.
        """
        rows: list[list[tuple[Tensor, Numbers]]] = [[] for _ in self.parts]
        for matrix, kind in zip(matrices, self._kinds, strict=True):
            start = 0
            for of_part, part, positions in zip(
                rows, self.parts, kind, strict=True
            ):
                end = start + positions.shape[1] * part.size
                if positions.size:
                    of_part.append((matrix[:, start:end], positions))
                start = end
        return [
            part.with_rows(tensor, of_part)
            for part, tensor, of_part in zip(
                self.parts, like, rows, strict=True
            )
        ]

    def dead(self, tensors: Sequence[Tensor]) -> Tensor:
        """The number of groups that hold only zeros, a scalar int32 tensor."""
        alive = [ops.cast(ops.not_equal(x, 0), "int32") for x in tensors]
        counts = [
            ops.sum(ops.cast(ops.max(matrix, axis=1) == 0, "int32"))
            for matrix, _ in self.joined(alive)
        ]
        return sum(counts[1:], counts[0])

    def value(
        self, penalty: Penalty, w: Sequence[Tensor], strengths: Strengths
    ) -> Tensor:
        """The penalty on these groups.

        Args:
            penalty: the penalty.
            w: float tensors, the entries of each weight.
            strengths: the strengths by name.
        """
        values = [
            penalty.value(matrix, strengths, rows)
            for matrix, rows in self.joined(w)
        ]
        return sum(values[1:], values[0])

    def proximal_step(
        self,
        penalty: Penalty,
        w: Sequence[Tensor],
        effective_step: Sequence[Tensor] | Tensor | float,
        strengths: Strengths,
    ) -> list[Tensor]:
        """The proximal step of a penalty on these groups.

        Args:
            penalty: the penalty.
            w: float tensors, the entries of each weight.
            effective_step: a scalar for all entries, or for each weight a
                scalar or a tensor of its shape.
            strengths: the strengths by name.

        Returns:
            A tensor for each weight, of its shape.
        """
        matrices = self.joined(w)
        lengths = [effective_step] * len(matrices)
        if isinstance(effective_step, (list, tuple)):
            pairs = zip(effective_step, w, strict=True)
            lengths = [
                matrix
                for matrix, _ in self.joined(
                    [ops.broadcast_to(t, x.shape) for t, x in pairs]
                )
            ]
        after = [
            penalty.proximal_step(
                matrix,
                ops.cast(length, matrix.dtype),
                cast_strengths(strengths, matrix.dtype),
                rows,
            )
            for (matrix, rows), length in zip(matrices, lengths, strict=True)
        ]
        return self.parted(after, w)


def _positions(numbers: Numbers, groups: Numbers) -> Numbers:
    """The positions of the slices of some groups, a row for each group."""
    positions = np.flatnonzero(np.isin(numbers, groups))
    by_group = positions[np.argsort(numbers[positions], kind="stable")]
    return by_group.reshape(len(groups), -1)
