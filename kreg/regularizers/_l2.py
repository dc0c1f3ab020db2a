"""The squared L2 penalty."""

from typing import Any

import keras

from kreg._types import Tensor
from kreg.regularizers._norms import squared_l2_norm, weighted
from kreg.regularizers._proximal import ridge_shrink
from kreg.regularizers._separable import SeparablePenalty
from kreg.regularizers._strength import Strength, Strengths, times
from kreg.schedules._scalar import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class L2(SeparablePenalty):
    """Ridge: pulls every weight towards zero in proportion to its size.

    Choose it to keep weights small and to share the load among correlated
    inputs; it makes no zeros. Takes the place of `keras.regularizers.L2`, with
    the same values.

    Formula: `penalty(w) = multiplier * l2(step) * sum(w ** 2)`, with no half.

    Args:
        l2: float >= 0 or a `keras.optimizers.schedules.LearningRateSchedule`
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
        TypeError: if `l2` is neither a number nor a schedule.
        ValueError: if `l2` is negative or not finite, or starts so.

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
        self,
        w: Tensor,
        strengths: Strengths,
        factors: Tensor | None,
    ) -> Tensor:
        return times(
            strengths["l2"],
            lambda: squared_l2_norm(weighted(w, factors, root=True)),
        )

    def entries_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
    ) -> Tensor:
        return ridge_shrink(w, effective_step * strengths["l2"])
