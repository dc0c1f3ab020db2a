"""The L1 penalty."""

from typing import Any

import keras

from kreg._types import Tensor
from kreg.regularizers._norms import l1_norm, weighted
from kreg.regularizers._proximal import soft_threshold
from kreg.regularizers._separable import SeparablePenalty
from kreg.regularizers._strength import Strength, Strengths, times
from kreg.schedules._scalar import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class L1(SeparablePenalty):
    """Lasso: pulls every weight towards zero with the same force.

    Choose it to find out which weights are needed: the solution it defines has
    exact zeros. Takes the place of `keras.regularizers.L1`, with the same
    values.

    Formula: `penalty(w) = multiplier * l1(step) * sum(abs(w))`.

    Args:
        l1: float >= 0 or a `keras.optimizers.schedules.LearningRateSchedule`
            of the optimizer's iteration, the strength. Defaults to `0.01`,
            which also stands for `None`. Where a schedule gives a negative
            value it counts as 0; a NaN makes the loss NaN.
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            what the penalty of each entry is multiplied by: 0 leaves an entry
            unpenalized, `1 / abs(w)` of a first fit makes the adaptive lasso.
            Defaults to `None`: 1 for all. Saved with the model's config.
        multiplier: float >= 0, what the strength is multiplied by; callbacks
            steer it. Defaults to `1.0`.

    Returns:
        When called with a tensor of any shape, a scalar tensor of at least
        float32.

    Raises:
        TypeError: if `l1` is neither a number nor a schedule.
        ValueError: if `l1` is negative or not finite, or starts so.

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
        self,
        w: Tensor,
        strengths: Strengths,
        factors: Tensor | None,
    ) -> Tensor:
        return times(strengths["l1"], lambda: l1_norm(weighted(w, factors)))

    def entries_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
    ) -> Tensor:
        return soft_threshold(w, effective_step * strengths["l1"])
