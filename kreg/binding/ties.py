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
from kreg.regularizers.tied_groups import TiedGroups

Weights: TypeAlias = Sequence[tuple[keras.Variable, Grouping]]
"""Several weights, each with its part of the groups; all of equal counts."""


class Tie:
    """A penalty on groups that are tied across several weights.

    Each of the weights has a `TiePart` as its regularizer, bound or not. The
    penalty is on the groups of those weights that are trained and not under
    `kreg.freeze_support`: a frozen weight is left out of its groups, and of
    their size.

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

    @property
    def count(self) -> int:
        """The number of groups."""
        return self.parts[0].groups.count

    def acting_parts(self) -> list["TiePart"]:
        """The parts that the penalty acts on now."""
        return [part for part in self.parts if part.is_acting]

    def joined(
        self, first: Tensor | None = None
    ) -> tuple[Tensor, Grouping] | None:
        """The entries that the penalty acts on, and their groups.

        Args:
            first: the value of the first of these weights. Defaults to `None`:
                its present value.

        Returns:
            A matrix with a row for each group; None if it acts on nothing.
        """
        acting = self.acting_parts()
        if not acting:
            return None
        values = [part.variable for part in acting]
        if first is not None:
            values[0] = first
        groups = TiedGroups(tuple(part.groups for part in acting))
        return groups.joined([summable(value) for value in values]), groups.rows

    def penalty_at(self, step: Tensor) -> Tensor:
        """What the tie adds to the loss at an optimizer iteration."""
        joined = self.joined()
        if joined is None:
            return ops.zeros(())
        matrix, groups = joined
        return self.penalty.evaluate(
            matrix, step, self.penalty.multiplier, groups
        )


class TiePart:
    """The regularizer of one of the weights of a tie.

    Keras adds up the regularizers of all weights. So the one of the first
    weight that is trained has the value of the whole tie, and the others are 0.

    Args:
        tie: the tie.
        variable: the weight.
        groups: how the weight falls into the groups of the tie.
    """

    def __init__(
        self, tie: Tie, variable: keras.Variable, groups: Grouping
    ) -> None:
        self.tie = tie
        self.variable = variable
        self.groups = groups

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
        """Whether the weight stands for the tie: the first that it acts on."""
        return any(part is self for part in self.tie.acting_parts()[:1])

    def penalized(self, w: Tensor) -> tuple[Tensor, Grouping] | None:
        """The entries of the whole tie and their groups.

        Args:
            w: the value of this weight.

        Returns:
            None where another weight stands for the tie.
        """
        return self.tie.joined(w) if self.is_first else None

    def __call__(self, w: Tensor) -> Tensor:
        penalized = self.penalized(w)
        if penalized is None:
            return ops.zeros((), summable_dtype(w))
        return self.penalty(*penalized)


def tie_part(variable: keras.Variable) -> TiePart | None:
    """The part of a tie that a weight is, bound or not; None if it is none."""
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
    """A tie of the heads of a layer.

    Args:
        layer: an attention layer.
        penalty: the user's own object.
        heads: the weights of its heads.
    """
    path = getattr(layer, "path", None) or layer.name
    return Tie(f"{path}/{penalty.ties}", penalty, heads)


def tie_again(model: keras.Model) -> None:
    """Tie weights on each of which lies a penalty that ties weights.

    It is so where each weight has got its regularizer by itself, as from a
    file. The weights of a layer's heads are tied if all have the same object.
    """
    if not any(_ties_unbound(variable) for variable in model.weights):
        return
    for layer in flatten_layers(model):
        heads = heads_of(layer)
        if isinstance(heads, str) or not heads:
            continue
        penalty: Any = heads[0][0].regularizer
        if all(
            _ties_unbound(variable) and variable.regularizer is penalty
            for variable, _ in heads
        ):
            for part in tie_of(layer, penalty, heads).parts:
                part.variable.regularizer = part


def _ties_unbound(variable: keras.Variable) -> bool:
    regularizer: Any = variable.regularizer
    return isinstance(regularizer, Penalty) and regularizer.ties is not None
