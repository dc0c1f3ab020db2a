"""Concave penalties, which do not shrink large weights: MCP and SCAD."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kreg._arguments import positive_number, real_number
from kreg._types import Tensor
from kreg.regularizers._proximal import clipped_threshold, firm_threshold
from kreg.regularizers._separable import SeparablePenalty
from kreg.regularizers.argument import Argument
from kreg.regularizers.norms import Entries, Values, absolute, capped
from kreg.regularizers.strength import Strength, Strengths
from kreg.schedules.scalar_schedule import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class MCP(SeparablePenalty):
    """Minimax concave penalty: zeros as from L1, large weights not shrunk.

    Choose it over `L1` if the nonzero weights should not be biased towards
    zero: the pull fades with a weight's size and vanishes at
    `gamma * strength`. It is not convex, so start it from trained weights or
    ramp it up. A small `gamma` comes close to a hard threshold, which counts
    nonzero weights; a large one comes close to `L1`. Under an adaptive
    optimizer a proximal step does not change weights beyond
    `gamma * strength`.

    So that momentum does not make weights oscillate, updates are shortened in
    which the optimizer's effective step exceeds `(1 - momentum) * gamma / 2`,
    as long as the strength is not 0. Where this makes training too slow, a
    larger `gamma` shortens less.

    Formula: with `s = multiplier * strength(step)`, the sum over entries of
    `s * abs(w) - w ** 2 / (2 * gamma)` where `abs(w) <= gamma * s`, and of
    `gamma * s ** 2 / 2` elsewhere.

    Args:
        strength: float >= 0 or a
            `keras.optimizers.schedules.LearningRateSchedule` of the
            optimizer's iteration. Defaults to `0.01`.
        gamma: float > 0; weights beyond this multiple of the strength are not
            shrunk. With `strength=1e-4`, `gamma=500.0` spares weights beyond
            0.05. Defaults to `3.0`, usual for standardized linear regression.
            Networks need far larger values, because their strengths are far
            smaller than their weights.
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            which multiplies the penalty of each entry. Defaults to `None`: 1
            for all. Saved with the model's config.
        multiplier: float >= 0, which multiplies the strength; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor of any shape, a scalar tensor of at least
        float32.

    Raises:
        TypeError: if `strength` is neither a number nor a schedule.
        ValueError: if `strength`, or the first value of a schedule, is negative
            or not finite, or `gamma` is not positive.

    Example:

    >>> import keras, kreg, numpy
    >>> penalty = kreg.MCP(0.5, gamma=2.0)
    >>> float(penalty(numpy.array([0.0, 0.5, -1.0, 30.0])))
    0.6875
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kreg.MCP(1e-4, 500.0))

    References:
        Zhang, "Nearly Unbiased Variable Selection under Minimax Concave
        Penalty", Annals of Statistics 38(2), 2010.
    """

    strength = Strength()
    gamma = Argument(positive_number)
    """Weights beyond this multiple of the strength are not shrunk."""

    def __init__(
        self,
        strength: Schedule = 0.01,
        gamma: float = 3.0,
        *,
        factors: Any = None,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(factors=factors, multiplier=multiplier)
        self.strength = strength
        self.gamma = gamma

    @property
    def entries_weak_convexity(self) -> float:
        return 1.0 / float(self.gamma)

    def entries_value(
        self, w: Tensor, strengths: Strengths
    ) -> Sequence[tuple[Tensor | float, Entries]]:
        strength = strengths["strength"]
        size = capped(absolute(w), self.gamma * strength)
        return [(1.0, Values(size * (strength - size / (2.0 * self.gamma))))]

    def entries_step(
        self, w: Tensor, effective_step: Tensor | float, strengths: Strengths
    ) -> Tensor:
        return firm_threshold(
            w, effective_step, strengths["strength"], self.gamma
        )


def _above_two(name: str, value: Any) -> float:
    number = real_number(name, value)
    if number <= 2.0:
        raise ValueError(
            f"`{name}` must be a number above 2. Received: {name}={value!r}"
        )
    return number


@keras.saving.register_keras_serializable(package="kreg")
class SCAD(SeparablePenalty):
    """Smoothly clipped absolute deviation: L1 only for small weights.

    Choose it over `L1`, like `MCP`, if the nonzero weights should not be biased
    towards zero. Weights up to the strength are pulled as hard as by `L1`; then
    the pull fades, and vanishes at `a * strength`. It is not convex, so start
    it from trained weights or ramp it up. A small `a` comes close to a hard
    threshold, a large one to `L1`. Under an adaptive optimizer a proximal step
    does not change weights beyond `a * strength`.

    So that momentum does not make weights oscillate, updates are shortened in
    which the optimizer's effective step exceeds `(1 - momentum) * (a - 1) / 2`,
    as long as the strength is not 0. Where this makes training too slow, a
    larger `a` shortens less.

    Formula: with `s = multiplier * strength(step)` and `x = abs(w)`, the sum
    over entries of `s * x` where `x <= s`, of
    `(2 * a * s * x - x ** 2 - s ** 2) / (2 * (a - 1))` where
    `s < x <= a * s`, and of `(a + 1) * s ** 2 / 2` elsewhere.

    Args:
        strength: float >= 0 or a
            `keras.optimizers.schedules.LearningRateSchedule` of the
            optimizer's iteration. Defaults to `0.01`.
        a: float > 2; weights beyond this multiple of the strength are not
            shrunk. With `strength=1e-4`, `a=500.0` spares weights beyond 0.05.
            Defaults to `3.7`, as in the paper, for linear regression. Networks
            need far larger values, because their strengths are far smaller
            than their weights.
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            which multiplies the penalty of each entry. Defaults to `None`: 1
            for all. Saved with the model's config.
        multiplier: float >= 0, which multiplies the strength; callbacks steer
            it. Defaults to `1.0`.

    Returns:
        When called with a tensor of any shape, a scalar tensor of at least
        float32.

    Raises:
        TypeError: if `strength` is neither a number nor a schedule, or `a` is
            not a number.
        ValueError: if `strength`, or the first value of a schedule, is negative
            or not finite, or `a` is not above 2.

    Example:

    >>> import keras, kreg, numpy
    >>> penalty = kreg.SCAD(0.5, a=3.0)
    >>> float(penalty(numpy.array([0.0, 0.5, -1.0, 30.0])))
    1.1875
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kreg.SCAD(1e-4, 500.))

    References:
        Fan and Li, "Variable Selection via Nonconcave Penalized Likelihood and
        its Oracle Properties", Journal of the American Statistical Association
        96(456), 2001.
    """

    strength = Strength()
    a = Argument(_above_two)
    """Weights beyond this multiple of the strength are not shrunk."""

    def __init__(
        self,
        strength: Schedule = 0.01,
        a: float = 3.7,
        *,
        factors: Any = None,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__(factors=factors, multiplier=multiplier)
        self.strength = strength
        self.a = a

    @property
    def entries_weak_convexity(self) -> float:
        return 1.0 / (float(self.a) - 1.0)

    def entries_value(
        self, w: Tensor, strengths: Strengths
    ) -> Sequence[tuple[Tensor | float, Entries]]:
        strength = strengths["strength"]
        size = capped(absolute(w), self.a * strength)
        # Above `strength` the pull fades to 0, so the penalty is less than L1.
        fading = ops.relu(size - strength)
        reduction = ops.square(fading) / (2.0 * (self.a - 1.0))
        return [(1.0, Values(strength * size - reduction))]

    def entries_step(
        self, w: Tensor, effective_step: Tensor | float, strengths: Strengths
    ) -> Tensor:
        return clipped_threshold(
            w, effective_step, strengths["strength"], self.a
        )
