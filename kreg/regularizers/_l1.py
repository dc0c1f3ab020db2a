"""The L1 penalty."""

from collections.abc import Callable, Mapping

import keras

from kreg._types import Tensor
from kreg.regularizers._norms import l1_norm
from kreg.regularizers._penalty import Penalty
from kreg.regularizers._proximal import soft_threshold
from kreg.regularizers._strength import Strength
from kreg.schedules._scalar import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class L1(Penalty):
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
        self, l1: Schedule | None = 0.01, *, multiplier: float = 1.0
    ) -> None:
        super().__init__(multiplier=multiplier)
        self.l1 = 0.01 if l1 is None else l1

    @property
    def functions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        return {"l1": l1_norm}

    def proximal_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Mapping[str, Tensor | float] | None = None,
    ) -> Tensor:
        strengths = strengths or self.strengths()
        return soft_threshold(w, effective_step * strengths["l1"])

    def slope(
        self, w: Tensor, strengths: Mapping[str, Tensor | float]
    ) -> Tensor | float:
        return strengths["l1"]
