"""Groups of entries that lie in several weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import ops

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping, along
from kreg.regularizers.penalty import Penalty
from kreg.regularizers.strength import Strengths, cast_strengths


@dataclass(frozen=True)
class TiedGroups:
    """Groups of entries that lie in several weights.

    Args:
        parts: how each of the weights falls into groups, all of equal count.
            Group i consists of the groups i of all parts.
    """

    parts: tuple[Grouping, ...]

    @property
    def rows(self) -> Grouping:
        """The groups of the matrix that `joined` returns: its rows."""
        size = sum(part.size for part in self.parts)
        return along((self.parts[0].count, size), (1,))

    def joined(self, tensors: Sequence[Tensor]) -> Tensor:
        """A tensor for each weight as one matrix, with a row for each group."""
        rows = [
            part.as_rows(tensor)
            for part, tensor in zip(self.parts, tensors, strict=True)
        ]
        dtype = keras.backend.result_type(*(row.dtype for row in rows))
        return ops.concatenate([ops.cast(row, dtype) for row in rows], axis=1)

    def parted(self, matrix: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
        """The inverse of `joined`, for tensors of the shapes of `like`."""
        tensors, start = [], 0
        for part, tensor in zip(self.parts, like, strict=True):
            rows = matrix[:, start : start + part.size]
            shape = tuple(tensor.shape)
            tensors.append(ops.cast(part.from_rows(rows, shape), tensor.dtype))
            start += part.size
        return tensors

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
            effective_step: a scalar for all entries; or for each weight a
                scalar or a tensor of its shape.
            strengths: the strengths by name.

        Returns:
            A tensor for each weight, of its shape.
        """
        matrix = self.joined(w)
        if isinstance(effective_step, (list, tuple)):
            pairs = zip(effective_step, w, strict=True)
            effective_step = self.joined(
                [ops.broadcast_to(t, x.shape) for t, x in pairs]
            )
        after = penalty.proximal_step(
            matrix,
            ops.cast(effective_step, matrix.dtype),
            cast_strengths(strengths, matrix.dtype),
            self.rows,
        )
        return self.parted(after, w)
