"""The lasso, ridge and elastic net penalties: `L1`, `L2` and `L1L2`."""

from collections.abc import Sequence
from typing import Any

import keras

from kreg._types import Tensor
from kreg.regularizers._proximal import ridge_shrink, soft_threshold
from kreg.regularizers._separable import SeparablePenalty
from kreg.regularizers.norms import Entries, Sizes, Squares
from kreg.regularizers.strength import Strength, Strengths
from kreg.schedules.scalar_schedule import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class L1(SeparablePenalty):
    """Lasso: pulls every weight towards zero with the same force.

    Choose it to find out which weights are needed: its minimum has exact zeros.
    It replaces `keras.regularizers.L1`, with the same values.

    Formula: `penalty(w) = multiplier * l1(step) * sum(abs(w))`.

    Args:
        l1: float >= 0 or a `keras.optimizers.schedules.LearningRateSchedule`
            of the optimizer's iteration, the strength. Defaults to `0.01`,
            which also stands for `None`. Negative values of a schedule count
            as 0; a NaN makes the loss NaN.
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            which multiplies the penalty of each entry: 0 leaves an entry
            unpenalized, `1 / abs(w)` of a first fit makes the adaptive lasso.
            Defaults to `None`: 1 for all. Saved with the model's config.
        multiplier: float >= 0, which multiplies the strength; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor of any shape, a scalar tensor of at least
        float32.

    Raises:
        TypeError: if `l1` is neither a number nor a schedule.
        ValueError: if `l1`, or the first value of a schedule, is negative or
            not finite.

    Example:

    >>> import keras, kreg, numpy
    >>> float(kreg.L1(0.5)(numpy.array([1.0, -2.0, 0.0])))
    1.5
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kreg.L1(1e-4))

    References:
        Tibshirani, "Regression Shrinkage and Selection via the Lasso", Journal
        of the Royal Statistical Society B 58(1), 1996.
    """

    l1 = Strength()
    entries_weak_convexity = 0.0

    def __init__(
        self,
        l1: Schedule | None = 0.01,
        *,
        factors: Any = None,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(factors=factors, multiplier=multiplier)
        self.l1 = 0.01 if l1 is None else l1

    def entries_value(
        self, w: Tensor, strengths: Strengths
    ) -> Sequence[tuple[Tensor | float, Entries]]:
        return [(strengths["l1"], Sizes(w))]

    def entries_step(
        self, w: Tensor, effective_step: Tensor | float, strengths: Strengths
    ) -> Tensor:
        return soft_threshold(w, effective_step * strengths["l1"])


@keras.saving.register_keras_serializable(package="kreg")
class L2(SeparablePenalty):
    """Ridge: pulls every weight towards zero in proportion to its size.

    Choose it to keep weights small and to spread them over correlated inputs;
    it makes no zeros. It replaces `keras.regularizers.L2`, with the same
    values.

    Formula: `penalty(w) = multiplier * l2(step) * sum(w ** 2)`, with no half.

    Args:
        l2: float >= 0 or a `keras.optimizers.schedules.LearningRateSchedule`
            of the optimizer's iteration, the strength. Defaults to `0.01`,
            which also stands for `None`. Negative values of a schedule count
            as 0; a NaN makes the loss NaN.
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            which multiplies the penalty of each entry: 0 leaves an entry
            unpenalized, `1 / abs(w)` of a first fit makes the adaptive lasso.
            Defaults to `None`: 1 for all. Saved with the model's config.
        multiplier: float >= 0, which multiplies the strength; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor of any shape, a scalar tensor of at least
        float32.

    Raises:
        TypeError: if `l2` is neither a number nor a schedule.
        ValueError: if `l2`, or the first value of a schedule, is negative or
            not finite.

    Example:

    >>> import keras, kreg, numpy
    >>> float(kreg.L2(0.5)(numpy.array([1.0, -2.0, 0.0])))
    2.5
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kreg.L2(1e-4))

    References:
        Hoerl and Kennard, "Ridge Regression: Biased Estimation for
        Nonorthogonal Problems", Technometrics 12(1), 1970.
    """

    l2 = Strength()
    entries_weak_convexity = 0.0

    def __init__(
        self,
        l2: Schedule | None = 0.01,
        *,
        factors: Any = None,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(factors=factors, multiplier=multiplier)
        self.l2 = 0.01 if l2 is None else l2

    def entries_value(
        self, w: Tensor, strengths: Strengths
    ) -> Sequence[tuple[Tensor | float, Entries]]:
        return [(strengths["l2"], Squares(w))]

    def entries_step(
        self, w: Tensor, effective_step: Tensor | float, strengths: Strengths
    ) -> Tensor:
        return ridge_shrink(w, effective_step * strengths["l2"])


@keras.saving.register_keras_serializable(package="kreg")
class L1L2(SeparablePenalty):
    """Elastic net: zeros as from L1, correlated inputs kept as by L2.

    Choose it over `L1` if inputs are correlated: the L2 part keeps groups of
    correlated inputs together. It replaces `keras.regularizers.L1L2`, with the
    same values.

    Formula:
    `penalty(w) = multiplier * (l1(step) * sum(abs(w)) + l2(step) * sum(w**2))`.

    Args:
        l1: float >= 0 or a `keras.optimizers.schedules.LearningRateSchedule`
            of the optimizer's iteration, the strength of the L1 part.
            Defaults to `0.0`, which also stands for `None`. Negative values of
            a schedule count as 0; a NaN makes the loss NaN.
        l2: the strength of the L2 part, of the same types. Defaults to `0.0`.
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            which multiplies the penalty of each entry: 0 leaves an entry
            unpenalized, `1 / abs(w)` of a first fit makes the adaptive lasso.
            Defaults to `None`: 1 for all. Saved with the model's config.
        multiplier: float >= 0, which multiplies both strengths; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor of any shape, a scalar tensor of at least
        float32.

    Raises:
        TypeError: if a strength is neither a number nor a schedule.
        ValueError: if a strength, or the first value of a schedule, is negative
            or not finite.

    Example:

    >>> import keras, kreg, numpy
    >>> float(kreg.L1L2(l1=0.5, l2=0.25)(numpy.array([1.0, -2.0, 0.0])))
    2.75
    >>> penalty = kreg.L1L2(l1=1e-5, l2=1e-4)
    >>> layer = keras.layers.Dense(10, kernel_regularizer=penalty)

    References:
        Zou and Hastie, "Regularization and Variable Selection via the Elastic
        Net", Journal of the Royal Statistical Society B 67(2), 2005.
    """

    l1 = Strength()
    l2 = Strength()
    entries_weak_convexity = 0.0

    def __init__(
        self,
        l1: Schedule | None = 0.0,
        l2: Schedule | None = 0.0,
        *,
        factors: Any = None,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(factors=factors, multiplier=multiplier)
        self.l1 = 0.0 if l1 is None else l1
        self.l2 = 0.0 if l2 is None else l2

    def entries_value(
        self, w: Tensor, strengths: Strengths
    ) -> Sequence[tuple[Tensor | float, Entries]]:
        return [(strengths["l1"], Sizes(w)), (strengths["l2"], Squares(w))]

    def entries_step(
        self, w: Tensor, effective_step: Tensor | float, strengths: Strengths
    ) -> Tensor:
        thresholded = soft_threshold(w, effective_step * strengths["l1"])
        return ridge_shrink(thresholded, effective_step * strengths["l2"])
