"""Ties: a penalty on groups whose entries lie in several weights."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from kreg._keras_private import flatten_layers
from kreg._types import Tensor
from kreg.layers.heads import heads_of
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.norms import summable, summable_dtype
from kreg.regularizers.tied_groups import Slices, TiedGroups

Weights: TypeAlias = Sequence[tuple[keras.Variable, Slices]]
"""Several weights, each with how it is cut into the groups."""


class Tie:
    """A penalty on groups that are tied across several weights.

    Each of the weights has a `TiePart` as its regularizer, bound or not. The
    groups span only the weights that are trained and not under
    `kreg.freeze_support`. A frozen weight counts neither for the norm of a
    group nor for its size.

    Args:
        path: the name of the tie, unique in its model.
        penalty: the user's own object; several ties may share it.
        weights: the weights.
    """

    def __init__(
        self,
        path: str,
        penalty: Penalty,
        weights: Weights,
    ) -> None:
        self.path = path
        self.penalty = penalty
        self.parts = tuple(TiePart(self, *weight) for weight in weights)
        self._groups: dict[tuple[int, ...], TiedGroups] = {}

    @property
    def count(self) -> int:
        """The number of groups."""
        return self.groups(self.parts).count

    def groups(self, parts: Sequence["TiePart"]) -> TiedGroups:
        """The groups, restricted to the weights of some parts."""
        key = tuple(map(id, parts))
        if key not in self._groups:
            slices = [part.slices for part in parts]
            self._groups[key] = TiedGroups(slices)
        return self._groups[key]

    def acting_parts(self) -> list["TiePart"]:
        """The parts of the weights that the penalty acts on now."""
        return [part for part in self.parts if part.is_acting]

    def joined(
        self, first: Tensor | None = None
    ) -> list[tuple[Tensor, Grouping]]:
        """The entries that the penalty acts on, and their groups.

        Args:
            first: the value of the first weight that the penalty acts on.
                Defaults to `None`: its present value.

        Returns:
            Matrices with a row for each group; none if the penalty acts on no
            weight.
        """
        parts = self.acting_parts()
        if not parts:
            return []
        values = [part.variable for part in parts]
        if first is not None:
            values[0] = first
        return self.groups(parts).joined([summable(v) for v in values])

    def penalty_at(self, step: Tensor) -> Tensor:
        """The penalty of the tie at an optimizer iteration."""
        value = ops.zeros(())
        for matrix, groups in self.joined():
            value += self.penalty.evaluate(
                matrix, step, self.penalty.multiplier, groups
            )
        return value


class TiePart:
    """The regularizer of one of the weights of a tie.

    Keras adds up the regularizers of all weights. So the part of the first
    trained weight returns the penalty of the whole tie, and the others return
    0.

    Args:
        tie: the tie.
        variable: the weight.
        slices: how the weight is cut into the groups of the tie.
    """

    def __init__(
        self, tie: Tie, variable: keras.Variable, slices: Slices
    ) -> None:
        self.tie = tie
        self.variable = variable
        self.slices = slices

    @property
    def penalty(self) -> Penalty:
        """The user's own object."""
        return self.tie.penalty

    @property
    def is_acting(self) -> bool:
        """Whether the penalty acts on the weight now."""
        return (
            bool(self.variable.trainable)
            and tie_part(self.variable) is self
            and not getattr(self.variable.regularizer, "suspended", False)
        )

    @property
    def is_first(self) -> bool:
        """Whether this is the first acting part, which stands for the tie."""
        return any(part is self for part in self.tie.acting_parts()[:1])

    def penalized(self, w: Tensor) -> list[tuple[Tensor, Grouping]]:
        """The entries of the whole tie and their groups.

        Args:
            w: the value of this weight.

        Returns:
            Matrices; none if another part is the first.
        """
        return self.tie.joined(w) if self.is_first else []

    def __call__(self, w: Tensor) -> Tensor:
        value = ops.zeros((), summable_dtype(w))
        for matrix, groups in self.penalized(w):
            value += self.penalty(matrix, groups)
        return value


def tie_part(variable: keras.Variable) -> TiePart | None:
    """The part of a weight in a tie, bound or not; None if it is not tied."""
    regularizer: Any = variable.regularizer
    part = regularizer
    if not isinstance(part, TiePart):
        part = getattr(regularizer, "part", None)
    return part if isinstance(part, TiePart) else None


def ties_of(model: keras.Model) -> list[Tie]:
    """The ties on the weights of a model, in the order of their weights."""
    parts = (tie_part(variable) for variable in model.weights)
    ties = {id(part.tie): part.tie for part in parts if part is not None}
    return list(ties.values())


def tie_of(layer: keras.layers.Layer, penalty: Penalty, heads: Weights) -> Tie:
    """Create the tie of the heads of a layer.

    Args:
        layer: an attention layer.
        penalty: the user's own object.
        heads: the weights of its heads.
    """
    path = getattr(layer, "path", None) or layer.name
    return Tie(f"{path}/{penalty.ties}", penalty, heads)


def tie_again(model: keras.Model) -> None:
    """Tie the heads of attention layers whose weights share such a penalty.

    After loading a file, each weight of a layer has the penalty by itself. The
    weights of a layer's heads are tied if all have the same object.
    """
    if not any(_ties_heads_unbound(variable) for variable in model.weights):
        return
    for layer in flatten_layers(model):
        heads = heads_of(layer)
        if isinstance(heads, str) or not heads:
            continue
        penalty: Any = heads[0][0].regularizer
        if all(
            _ties_heads_unbound(variable) and variable.regularizer is penalty
            for variable, _ in heads
        ):
            for part in tie_of(layer, penalty, heads).parts:
                part.variable.regularizer = part


def _ties_heads_unbound(variable: keras.Variable) -> bool:
    regularizer: Any = variable.regularizer
    return isinstance(regularizer, Penalty) and regularizer.ties == "heads"
