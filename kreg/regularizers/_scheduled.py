"""`Scheduled`: any regularizer times a strength that may follow a schedule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kreg._arguments import wrong_value
from kreg._types import Tensor
from kreg.regularizers.argument import Argument
from kreg.regularizers.grouping import Grouping, Layout
from kreg.regularizers.norms import is_complex
from kreg.regularizers.strength import Strength, Strengths, times
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.schedules.scalar_schedule import Schedule


def _foreign_regularizer(name: str, value: Any) -> Callable[[Tensor], Tensor]:
    """Return a regularizer from an object, name or config; kreg's raise."""
    if isinstance(value, (str, Mapping, type)):
        try:
            value = keras.regularizers.get(value)
        except Exception as error:  # a config may name any class
            raise wrong_value(
                name, "a regularizer, or a name or config of one", value
            ) from error
    if isinstance(value, StrengthRegularizer):
        raise TypeError(
            f"`{name}` must be a regularizer that is not kreg's: kreg's take "
            "a schedule themselves, such as `kreg.L1(schedule)`. "
            f"Received: {name}={value!r}"
        )
    if not callable(value):
        raise TypeError(
            f"`{name}` must be a `keras.regularizers.Regularizer` or a "
            "function of a weight that returns a scalar. "
            f"Received: {name}={value!r} (of type {type(value).__name__})"
        )
    return value


@keras.saving.register_keras_serializable(package="kreg")
class Scheduled(StrengthRegularizer):
    """Any regularizer times a strength, which may follow a schedule.

    Choose it for a regularizer that kreg does not have: one of Keras's such as
    `keras.regularizers.OrthogonalRegularizer`, or a function of your own. Once
    it is bound to a model, its strength follows the optimizer's iterations,
    callbacks can steer it, and it is logged. It is a term of the loss under
    every optimizer. A `ProximalOptimizer` takes no proximal step for it, so it
    makes no exact zeros.

    Formula: `multiplier * strength(step) * regularizer(w)`.

    Args:
        regularizer: a `keras.regularizers.Regularizer` that is not kreg's, or
            a function of a weight that returns a scalar. Keras saves it with
            the model. Unless it is Keras's or registered with
            `keras.saving.register_keras_serializable`, it must be among the
            `custom_objects` when the model is loaded.
        strength: float >= 0 or a
            `keras.optimizers.schedules.LearningRateSchedule` of the
            optimizer's iteration. Defaults to `1.0`.
        multiplier: float >= 0, which multiplies the strength; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor, a scalar tensor of at least float32.

    Raises:
        TypeError: if `regularizer` is not a regularizer or is one of kreg's,
            or `strength` is neither a number nor a schedule.
        ValueError: if `strength`, or the first value of a schedule, is negative
            or not finite; when saved, if Keras cannot serialize
            `regularizer`.

    Example:

    >>> import keras, kreg, numpy
    >>> orthogonal = keras.regularizers.OrthogonalRegularizer(factor=1.0)
    >>> penalty = kreg.Scheduled(orthogonal, 0.5)
    >>> w = numpy.array([[1.0, 0.0], [2.0, 0.0]], "float32")
    >>> round(float(penalty(w)), 4)  # the rows are parallel
    0.5
    >>> ramp = kreg.schedules.LinearRamp(0.0, 1e-2, steps=1000)
    >>> layer = keras.layers.Dense(
    ...     10, kernel_regularizer=kreg.Scheduled(orthogonal, ramp))

    References:
        Brock, Lim, Ritchie and Weston, "Neural Photo Editing with
        Introspective Adversarial Networks", ICLR 2017, for orthogonal
        regularization.
    """

    regularizer = Argument(_foreign_regularizer)
    """The regularizer that is multiplied by the strength."""
    strength = Strength()

    def __init__(
        self,
        regularizer: Any,
        strength: Schedule = 1.0,
        *,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(multiplier=multiplier)
        self.regularizer = regularizer
        self.strength = strength

    def evaluate(
        self,
        w: Tensor,
        step: Tensor,
        multiplier: Tensor | float,
        groups: Grouping | None = None,
    ) -> Tensor:
        if hasattr(w, "dtype") and is_complex(w):
            raise TypeError(
                "`Scheduled` takes real weights, because a regularizer may "
                "need more of a complex weight than its moduli. Keep the real "
                "and the imaginary part in two weights. Received: a weight of "
                f"dtype {w.dtype}"
            )
        return super().evaluate(w, step, multiplier, groups)

    def value(
        self,
        w: Tensor,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        return times(strengths["strength"], lambda: self.regularizer(w))

    def grouping(
        self, shape: Sequence[int], layout: Layout | None = None
    ) -> None:
        """Return None: entries do not become zero in groups."""
