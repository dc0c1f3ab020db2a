"""Concave penalties: zeros as from L1, and large weights left alone."""

from typing import Any

import keras
from keras import ops

from kreg._arguments import positive_number
from kreg._types import Tensor
from kreg.regularizers._proximal import firm_threshold
from kreg.regularizers._separable import SeparablePenalty
from kreg.regularizers.strength import Strength, Strengths
from kreg.schedules.scalar_schedule import Schedule


@keras.saving.register_keras_serializable(package="kreg")
class MCP(SeparablePenalty):
    """Minimax concave penalty: zeros as from L1, but what stays is not shrunk.

    Choose it over `L1` where the weights that are kept should be as large as
    the data wants them: the pull fades with a weight's size and is gone at
    `gamma * strength`. It is not convex, so start it from trained weights or
    ramp it up. The smaller `gamma`, the closer to a hard threshold that counts
    weights; as it grows, the closer to `L1`. Under an adaptive optimizer a
    proximal step leaves weights beyond `gamma * strength` alone.

    Formula: with `s = multiplier * strength(step)`, the sum over entries of
    `s * abs(w) - w ** 2 / (2 * gamma)` where `abs(w) <= gamma * s`, and of
    `gamma * s ** 2 / 2` elsewhere.

    Args:
        strength: float >= 0 or a
            `keras.optimizers.schedules.LearningRateSchedule` of the
            optimizer's iteration. Defaults to `0.01`.
        gamma: float > 0, over what multiple of the strength a weight is left
            alone. With `strength=1e-4`, `gamma=500.0` spares weights beyond
            0.05. Defaults to `3.0`, usual for standardized linear regression;
            networks, whose strengths are far smaller than their weights, want
            it far larger.
        factors: array that broadcasts to the weight's shape, finite and >= 0,
            what the penalty of each entry is multiplied by. Defaults to
            `None`: 1 for all. Saved with the model's config.
        multiplier: float >= 0, what the strength is multiplied by; callbacks
            steer it. Defaults to `1.0`.

    Returns:
        When called with a tensor of any shape, a scalar tensor of at least
        float32.

    Raises:
        TypeError: if `strength` is neither a number nor a schedule.
        ValueError: if `strength` is negative or not finite, or starts so, or
            `gamma` is not positive.

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
        self._gamma = positive_number("gamma", gamma)
        largest = 1.0 if self.factors is None else float(self.factors.max())
        self.longest_step = self._gamma / max(largest, 1.0)

    @property
    def gamma(self) -> float:
        """Over what multiple of the strength a weight is left alone."""
        return self._gamma

    def entries_value(
        self,
        w: Tensor,
        strengths: Strengths,
        factors: Tensor | None,
    ) -> Tensor:
        strength = strengths["strength"]
        # The gradient of `abs` at 0 is 1 on JAX.
        size = w * ops.stop_gradient(ops.sign(w))
        edge = self._gamma * strength
        # Not `minimum`, which rounds to single precision on torch.
        size = size - ops.relu(size - edge)
        entries = size * (strength - size / (2.0 * self._gamma))
        return ops.sum(entries if factors is None else entries * factors)

    def entries_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
    ) -> Tensor:
        return firm_threshold(
            w, effective_step, strengths["strength"], self._gamma
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self._gamma}
