"""Group penalties: `GroupLasso`, `SparseGroupLasso` and their base class."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from kreg._types import Tensor
from kreg.regularizers._proximal import group_soft_threshold, soft_threshold
from kreg.regularizers.argument import Argument
from kreg.regularizers.grouping import Grouping, Layout, along
from kreg.regularizers.norms import group_norms, l1_norm
from kreg.regularizers.penalty import Penalty
from kreg.regularizers.strength import Strength, Strengths, times
from kreg.schedules.scalar_schedule import Schedule

Groups: TypeAlias = (
    Literal["units", "inputs", "heads", "channels"] | tuple[int, ...]
)
_IN_LAYERS, _TIED = ("units", "inputs"), ("heads", "channels")
_NAME_AXES = (
    "Name the axes inside a group instead, such as `groups=(0,)` for the "
    "columns of a matrix. "
)


def _checked_groups(name: str, groups: Any) -> Groups:
    if isinstance(groups, str) and groups in (*_IN_LAYERS, *_TIED):
        return groups  # type: ignore[return-value]
    is_axis = isinstance(groups, numbers.Integral)
    axes = (groups,) if is_axis else groups
    if isinstance(axes, (tuple, list)) and all(
        isinstance(a, numbers.Integral) and not isinstance(a, bool)
        for a in axes
    ):
        return tuple(int(a) for a in axes)
    raise ValueError(
        f'`{name}` must be "units", "inputs", "heads", "channels" or a tuple '
        f"of the axes inside a group. Received: {name}={groups!r}"
    )


class GroupPenalty(Penalty):
    """Base of penalties that set whole groups of weights to zero.

    Args:
        groups: `"units"`, `"inputs"`, `"heads"`, `"channels"`, or the axes
            inside a group.
        multiplier: float >= 0, which multiplies every strength.
    """

    groups = Argument(_checked_groups)
    """How entries are grouped: a name, or a tuple of axes."""

    def __init__(self, groups: Any, *, multiplier: float = 1.0) -> None:
        super().__init__(multiplier=multiplier)
        self.groups = groups
        self.needs_layout = self.groups in _IN_LAYERS
        self.ties = self.groups if self.groups in _TIED else None

    def grouping(
        self, shape: Sequence[int], layout: Layout | None = None
    ) -> Grouping:
        if isinstance(self.groups, tuple):
            return _along_axes(shape, self.groups)
        if self.ties is not None:
            raise ValueError(
                f"`groups={self.groups!r}` ties several weights, so the "
                "penalty must be set on all of them together: leave it out "
                "of the layer, and call `kreg.attach(model, penalty)` on the "
                f"built model. Received: {self!r} on one weight of shape "
                f"{tuple(shape)}"
            )
        if layout is None:
            raise ValueError(
                f"`groups={self.groups!r}` has a meaning only in the layer "
                "that owns the weight: call `kreg.bind(model)` before "
                "training or evaluating, or pass a kreg callback to `fit`. "
                f"{_NAME_AXES}Received: {self!r} on a weight of shape "
                f"{tuple(shape)} that is not bound to a model"
            )
        channels = layout.units if self.groups == "units" else layout.inputs
        if channels is None:
            raise ValueError(
                f"`groups={self.groups!r}` is not defined for this weight of "
                f"shape {tuple(shape)} in a {layout.owner} layer. "
                f"{_NAME_AXES}"
                f"Received: {self!r}"
            )
        return channels


def _along_axes(shape: Sequence[int], groups: tuple[int, ...]) -> Grouping:
    rank = len(shape)
    axes = [axis + rank if axis < 0 else axis for axis in groups]
    if len(set(axes)) < len(axes) or not all(0 <= a < rank for a in axes):
        raise ValueError(
            "`groups` must name different axes of the weight, from "
            f"{-rank} to {rank - 1} for one of shape {tuple(shape)}. "
            f"Received: groups={groups!r}"
        )
    return along(shape, axes)


@keras.saving.register_keras_serializable(package="kreg")
class GroupLasso(GroupPenalty):
    """Group lasso: each group of weights is zero as a whole, or not at all.

    Choose it to find out which units or inputs of a layer are needed. It zeroes
    whole rows or columns, so that the layer itself can be made smaller. At the
    minimum a nonzero group has no zeros inside; for these see
    `SparseGroupLasso`. During training under Adam, and other optimizers that
    divide by the size of past gradients, no step moves an entry by more than
    about two updates. So the smallest entries of a vanishing group become zero
    before the others.

    Formula: `multiplier * strength(step) * sqrt(group size) * sum(norms)`,
    with the Euclidean norm of every group.

    Each norm is multiplied by the square root of the group's size, as in the
    paper. So a group of n weights of absolute value a costs
    `strength * n * a`, the same as under `L1`, and one strength suits layers of
    any width. scikit-learn's `MultiTaskLasso` has no such factor: its
    `alpha` is `strength * sqrt(size)`, up to its own scaling of the loss.

    Args:
        strength: float >= 0 or a
            `keras.optimizers.schedules.LearningRateSchedule` of the
            optimizer's iteration. Defaults to `0.01`.
        groups: how entries are grouped. `"units"`, the default: the incoming
            weights of one output channel. `"inputs"`: the outgoing weights of
            one input channel. Both depend on the layer (a transposed
            convolution, the gates of an LSTM, the equation of an EinsumDense),
            so the model must be bound. `"heads"`: the entries of one head of an
            attention layer, in the query, key, value and output kernels and in
            the biases of the first three. `"channels"`: the entries that
            `kreg.compact` removes with one channel; see `kreg.attach`. The last
            two must be set with `kreg.attach(model, penalty)`. Or a tuple of
            ints, the axes inside a group: `(0,)` for the columns of a matrix.
        multiplier: float >= 0, which multiplies the strength; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor, a scalar tensor of at least float32.

    Raises:
        TypeError: if `strength` is neither a number nor a schedule.
        ValueError: if `strength`, or the first value of a schedule, is negative
            or not finite; if `groups` is none of these, or does not fit the
            weight; if it is `"units"` or `"inputs"` and the weight is not bound
            to a model.

    Example:

    >>> import keras, kreg, numpy
    >>> penalty = kreg.GroupLasso(0.5, groups=(0,))
    >>> w = numpy.array([[3.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> float(penalty(w))  # 0.5 * sqrt(4) * (5 + 1)
    6.0
    >>> layer = keras.layers.Conv2D(
    ...     8, 3, kernel_regularizer=kreg.GroupLasso(1e-4, "units"))

    References:
        Yuan and Lin, "Model Selection and Estimation in Regression with
        Grouped Variables", Journal of the Royal Statistical Society B 68(1),
        2006.
    """

    strength = Strength()
    weak_convexity = 0.0

    def __init__(
        self,
        strength: Schedule = 0.01,
        groups: Groups = "units",
        *,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(groups, multiplier=multiplier)
        self.strength = strength

    def value(
        self,
        w: Tensor,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        groups = groups or self.grouping(w.shape)
        return times(
            strengths["strength"],
            lambda: math.sqrt(groups.size) * ops.sum(group_norms(w, groups)),
        )

    def proximal_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        groups = groups or self.grouping(w.shape)
        strength = strengths["strength"] * math.sqrt(groups.size)
        return group_soft_threshold(w, effective_step, strength, groups)


@keras.saving.register_keras_serializable(package="kreg")
class SparseGroupLasso(GroupPenalty):
    """Sparse group lasso: zero groups, and zero entries in the other groups.

    Choose it to zero units or inputs as a whole, and also single weights of
    those that stay.

    Formula: `multiplier * (l1(step) * sum(abs(w)) + group(step) *
    sqrt(group size) * sum(norms))`, with the Euclidean norm of every group.
    The factor for the size of a group is explained in `GroupLasso`.

    Args:
        l1: float >= 0 or a `keras.optimizers.schedules.LearningRateSchedule`
            of the optimizer's iteration, the strength for single weights.
            Defaults to `0.01`.
        group: the strength for groups, of the same types. Defaults to `0.01`.
        groups: how entries are grouped: `"units"`, the default, `"inputs"`,
            `"heads"`, `"channels"`, or a tuple of ints, the axes inside a
            group; see `GroupLasso`.
        multiplier: float >= 0, which multiplies both strengths; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor, a scalar tensor of at least float32.

    Raises:
        TypeError: if a strength is neither a number nor a schedule.
        ValueError: if a strength, or the first value of a schedule, is negative
            or not finite; if `groups` is none of these, or does not fit the
            weight; if it is `"units"` or `"inputs"` and the weight is not bound
            to a model.

    Example:

    >>> import keras, kreg, numpy
    >>> penalty = kreg.SparseGroupLasso(l1=1.0, group=0.5, groups=(0,))
    >>> w = numpy.array([[3.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> float(penalty(w))  # 8 + 0.5 * sqrt(4) * (5 + 1)
    14.0
    >>> layer = keras.layers.Dense(
    ...     10, kernel_regularizer=kreg.SparseGroupLasso(1e-5, 1e-4, "inputs"))

    References:
        Simon, Friedman, Hastie and Tibshirani, "A Sparse-Group Lasso", Journal
        of Computational and Graphical Statistics 22(2), 2013.
    """

    l1 = Strength()
    group = Strength()
    weak_convexity = 0.0

    def __init__(
        self,
        l1: Schedule = 0.01,
        group: Schedule = 0.01,
        groups: Groups = "units",
        *,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(groups, multiplier=multiplier)
        self.l1 = l1
        self.group = group

    def value(
        self,
        w: Tensor,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        groups = groups or self.grouping(w.shape)

        def norms() -> Tensor:
            return math.sqrt(groups.size) * ops.sum(group_norms(w, groups))

        return times(strengths["l1"], lambda: l1_norm(w)) + times(
            strengths["group"], norms
        )

    def proximal_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        groups = groups or self.grouping(w.shape)
        # The proximal step of the sum is the soft threshold, followed by the
        # group step. This also holds if every entry has its own effective
        # step, because the group step scales entries by positive numbers and
        # so keeps their signs.
        sparse = soft_threshold(w, effective_step * strengths["l1"])
        strength = strengths["group"] * math.sqrt(groups.size)
        return group_soft_threshold(sparse, effective_step, strength, groups)
