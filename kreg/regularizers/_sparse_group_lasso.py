"""The sparse group lasso."""

import math

import keras
from keras import ops

from kreg._types import Tensor
from kreg.regularizers._group_penalty import GroupPenalty, Groups
from kreg.regularizers._grouping import Grouping
from kreg.regularizers._norms import group_norms, l1_norm
from kreg.regularizers._proximal import group_soft_threshold, soft_threshold
from kreg.regularizers._strength import Strength, Strengths, times
from kreg.schedules._scalar import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class SparseGroupLasso(GroupPenalty):
    """Sparse group lasso: whole groups are zero, and entries in the others.

    Choose it where units or inputs should go as a whole, and those that stay
    need few of their weights.

    Formula: `multiplier * (l1(step) * sum(abs(w)) + group(step) *
    sqrt(group size) * sum(norms))`, with the Euclidean norm of every group.
    Groups of different size weigh as in `GroupLasso`.

    Args:
        l1: float >= 0 or a `keras.optimizers.schedules.LearningRateSchedule`
            of the optimizer's iteration, the strength for single weights.
            Defaults to `0.01`.
        group: the same for groups. Defaults to `0.01`.
        groups: what a group is: `"units"`, the default, `"inputs"`, or a tuple
            of ints, the axes inside a group; see `GroupLasso`.
        multiplier: float >= 0, what both strengths are multiplied by;
            callbacks steer it. Defaults to `1.0`.

    Returns:
        When called with a tensor, a scalar tensor of at least float32.

    Raises:
        TypeError: if a strength is neither a number nor a schedule.
        ValueError: if a strength is negative or not finite, or starts so; if
            `groups` is none of those, or does not fit the weight; if it is
            `"units"` or `"inputs"` where no layer is known.

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
        # In this order the two steps make the step of the sum, also where
        # every entry has an effective step of its own: the second one scales
        # entries by positive numbers, which keeps their signs.
        sparse = soft_threshold(w, effective_step * strengths["l1"])
        strength = strengths["group"] * math.sqrt(groups.size)
        return group_soft_threshold(sparse, effective_step, strength, groups)
