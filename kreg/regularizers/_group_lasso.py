"""The group lasso."""

import math

import keras
from keras import ops

from kreg._types import Tensor
from kreg.regularizers._group_penalty import GroupPenalty, Groups
from kreg.regularizers._grouping import Grouping
from kreg.regularizers._norms import group_norms
from kreg.regularizers._proximal import group_soft_threshold
from kreg.regularizers._strength import Strength, Strengths, times
from kreg.schedules._scalar import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class GroupLasso(GroupPenalty):
    """Group lasso: a group of weights is zero as a whole, or not at all.

    Choose it to find out which units or which inputs of a layer are needed:
    what goes are rows and columns, so that the layer itself can be made
    smaller. Inside a group that stays it makes no zeros; `SparseGroupLasso`
    does.

    Formula: `multiplier * strength(step) * sqrt(group size) * sum(norms)`,
    with the Euclidean norm of every group.

    Groups of different size weigh by the square root of their size, as in the
    paper: a group of n weights of size a costs `strength * n * a`, what `L1`
    of the same strength costs. So one strength suits layers of any width. The
    groups of one weight all have one size; scikit-learn's `MultiTaskLasso`,
    which has no such factor, is the case `alpha = strength * sqrt(size)` up to
    its own scaling of the loss.

    Args:
        strength: float >= 0 or a
            `keras.optimizers.schedules.LearningRateSchedule` of the
            optimizer's iteration. Defaults to `0.01`.
        groups: what a group is. `"units"`, the default: the incoming weights
            of one output channel. `"inputs"`: the outgoing weights of one
            input channel. Both follow the layer (a transposed convolution, the
            gates of an LSTM, the equation of an EinsumDense), so the model
            must be bound. Or a tuple of ints, the axes inside a group: `(0,)`
            for the columns of a matrix.
        multiplier: float >= 0, what the strength is multiplied by; callbacks
            steer it. Defaults to `1.0`.

    Returns:
        When called with a tensor, a scalar tensor of at least float32.

    Raises:
        TypeError: if `strength` is neither a number nor a schedule.
        ValueError: if `strength` is negative or not finite, or starts so; if
            `groups` is none of those, or does not fit the weight; if it is
            `"units"` or `"inputs"` where no layer is known.

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
