"""How far a strength moves towards a sparsity: at first, and then."""

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kreg._keras_private import responsible_optimizer
from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import innermost_optimizer
from kreg.optimizers.table import effective_step_rule
from kreg.regularizers.norms import summable
from kreg.regularizers.strength import cast_strengths

# Powers of two within which the factor is looked for.
_WIDEST = 64


def first_log_factor(
    variables: Sequence[keras.Variable],
    strengths: Sequence[dict[str, Tensor | float]],
    optimizer: keras.optimizers.Optimizer,
    *,
    updates: float,
    sparsity: Callable[[Sequence[Tensor]], float],
    target: float,
) -> float:
    """The factor for strengths that reaches a sparsity in some updates.

    It is the factor with which one proximal step, as long as all updates
    together, reaches the sparsity: as if no gradient resisted. So it is too
    low where there are many updates, and of the right size where there are
    few. It is a power of 2.

    Args:
        variables: the weights, bound to their model.
        strengths: the strengths of each.
        optimizer: the model's optimizer, after at least one update.
        updates: the number of updates.
        sparsity: tells the sparsity from the values of the weights.
        target: the sparsity to reach.

    Returns:
        The logarithm of the factor.
    """
    inner = innermost_optimizer(optimizer)
    starts = [_start(inner, v, updates) for v in variables]

    def reached(power: int) -> bool:
        values = []
        for variable, (w, step), strength in zip(
            variables, starts, strengths, strict=True
        ):
            bound: BoundPenalty = variable.regularizer
            scaled = {k: s * 2.0**power for k, s in strength.items()}
            values.append(
                bound.penalty.proximal_step(
                    w, step, cast_strengths(scaled, w.dtype), bound.groups
                )
            )
        return sparsity(values) >= target

    low, high = -_WIDEST, _WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high * math.log(2.0)


def _start(
    inner: keras.optimizers.Optimizer,
    variable: keras.Variable,
    updates: float,
) -> tuple[Tensor, Tensor]:
    """The weight that proximal steps act on, and how far they would go."""
    optimizer = responsible_optimizer(inner, variable)
    rate = ops.cast(optimizer.learning_rate, variable.dtype)
    effective = effective_step_rule(optimizer)(optimizer, variable, rate)
    w = summable(variable if effective.iterate is None else effective.iterate)
    step = ops.cast(effective.step, w.dtype) * updates
    longest: float = variable.regularizer.penalty.longest_step
    if effective.limit is not None and longest < math.inf:
        step = ops.minimum(step, longest)
    return w, step


RAMP_END = 0.65
"""The progress at which the desired sparsity reaches the target."""

REST_START = 0.88
"""The progress from which on the strength is nearly at rest.

A training that ends up to 2 % early has its last tenth from there on.
"""

SEEN = 0.02
"""A sparsity below which a strength has not shown its effect yet."""

# A strength at rest stays in a band of this width, in logarithms:
# a little less than 5 %.
_REST_BAND = math.log(1.045)
# Time constants, as parts of the whole training.
_RESPONSE, _DRIFT_RESPONSE = 0.02, 0.08
# How much of a drift of the strength shows in the log-odds of the sparsity.
_DRIFT_SHARE, _LARGEST_LEAD = 0.15, 0.06
_SMOOTHING, _TREND, _LOOK, _ARRIVAL = 0.008, 0.03, 0.05, 0.45
_PROPORTIONAL = 0.5
# How fast the strength may rise, in factors of e per whole training: no faster
# than a network shows what the strength does to it.
_CLIMB = 25.0
_LARGEST_GAP = 0.3
_LARGEST_FALL = 2.0
_HASTY, _HASTE = 0.012, 3.0


class StrengthController:
    """Moves a strength so that a sparsity follows a path to a target.

    The path rises from the sparsity at the start as a cubic, fast at first,
    and stays at the target from 65 % of the training on. The gap between path
    and sparsity is that of their log-odds, so that it means as much at 2 % as
    at 98 %. The logarithm of the strength moves with the gap, with its
    change, and with the drift that was needed so far; from 88 % of the
    training on it stays within a band of 5 %.

    Args:
        target: the sparsity to end with, in [0, 1).
        progress: how much of the training is done already, in [0, 1].
        sparsity: the sparsity now.
        resolution: the smallest change of the sparsity, such as one part in
            the number of weights.
    """

    def __init__(
        self,
        target: float,
        progress: float,
        sparsity: float,
        resolution: float,
    ) -> None:
        self._target = target
        self._start = (progress, sparsity)
        self._floor = min(max(resolution, 0.002), 0.25)
        self._time, self._sparsity = progress, sparsity
        self._trend = self._drift = 0.0
        self._gap = self._gap_at(progress, sparsity)
        # Where the strength has been since the rest began, from where it is.
        self._above = self._below = 0.0
        left = (1.0 - progress) / (1.0 - REST_START)
        self._band = _REST_BAND * min(1.0, max(left, 0.0))

    def desired(self, progress: float) -> float:
        """The sparsity that should be reached at some progress."""
        start, sparsity = self._start
        if progress >= RAMP_END or start >= RAMP_END:
            return self._target
        left = (RAMP_END - progress) / (RAMP_END - start)
        return self._target + (sparsity - self._target) * left**3

    def change(
        self,
        progress: float,
        sparsity: float,
        lowest: float = -math.inf,
        highest: float = math.inf,
    ) -> float:
        """By how much to move the logarithm of the strength.

        Args:
            progress: how much of the training is done, in [0, 1].
            sparsity: the sparsity now.
            lowest: the lowest change that can be made.
            highest: the highest. The controller does not wind up at either.
        """
        elapsed = progress - self._time
        if elapsed <= 0.0:
            return 0.0
        before = self._gap
        self._observe(progress, elapsed, sparsity)
        seen = self._sparsity > SEEN
        pull = self._pull(progress) if seen else self._gap
        wanted = pull * min(elapsed / _RESPONSE, 1.0) + self._drift * elapsed
        if seen:
            wanted += _PROPORTIONAL * (self._gap - before)
        step = max(-_LARGEST_FALL, min(_CLIMB * elapsed, wanted))
        allowed = max(lowest, min(highest, step))
        if progress >= REST_START:
            allowed = self._rested(allowed)
        elif progress > RAMP_END and allowed == wanted:
            self._drift += pull * elapsed / (_RESPONSE * _DRIFT_RESPONSE)
        return allowed

    def _observe(
        self, progress: float, elapsed: float, sparsity: float
    ) -> None:
        """Smooth the sparsity, and its trend."""
        start, first = self._start
        # Where nothing is zero yet, little was there to know before.
        span = progress - start if first <= SEEN else 1.0
        weight = -math.expm1(-elapsed / min(_SMOOTHING, 0.1 * span))
        before = self._sparsity
        self._sparsity += weight * (sparsity - before)
        weight = -math.expm1(-elapsed / min(_TREND, 0.2 * span))
        rate = (self._sparsity - before) / elapsed
        self._trend += weight * (rate - self._trend)
        self._time = progress
        self._gap = self._gap_at(progress, self._sparsity)

    def _pull(self, progress: float) -> float:
        """The gap that the strength answers to.

        Less than there is, or 0, where the sparsity is on its way there by
        itself: it answers late, so the strength would go too far.
        """
        gap = self._gap
        if gap <= 0:
            return self._hurried(
                min(max(gap, self._gap_ahead(progress, _LOOK)), 0.0)
            )
        near = self._gap_ahead(max(progress, RAMP_END), _LOOK)
        if near < 0:
            return self._hurried(near)
        horizon = max(_ARRIVAL - progress, _LOOK)
        pull = max(min(gap, self._gap_ahead(progress + horizon, horizon)), 0.0)
        return pull if self._trend < 0 else min(pull, _LARGEST_GAP)

    def _hurried(self, pull: float) -> float:
        """A pull downwards, stronger where it is more than noise.

        What is zero too much may never come back.
        """
        bounded = min(max(self._sparsity, self._floor), 1.0 - self._floor)
        excess = -pull * bounded * (1.0 - bounded)
        return pull * (_HASTE if excess > _HASTY else 1.0)

    def _gap_ahead(self, progress: float, horizon: float) -> float:
        """The gap to what is desired at `progress` if the trend goes on."""
        ahead = self._sparsity + self._trend * horizon
        return self._gap_at(progress, min(max(ahead, 0.0), 1.0))

    def _gap_at(self, progress: float, sparsity: float) -> float:
        desired = self.desired(progress)
        return (
            _log_odds(desired, self._floor)
            - _log_odds(sparsity, self._floor)
            + self._lead(progress)
        )

    def _lead(self, progress: float) -> float:
        """How far to be ahead of the target, as it will drift from there.

        Where the strength had to fall to hold the sparsity, the sparsity will
        rise once the strength rests.
        """
        into = 1.0 - REST_START
        near = max(0.0, 1.0 - abs(progress - REST_START) / into)
        lead = near * into * _DRIFT_SHARE * self._drift
        return min(max(lead, -_LARGEST_LEAD), _LARGEST_LEAD)

    def _rested(self, step: float) -> float:
        """`step`, but within the band around where the strength has been."""
        step = min(step, self._band - self._below)
        step = max(step, self._above - self._band)
        self._above = max(self._above - step, 0.0)
        self._below = max(self._below + step, 0.0)
        return step


def _log_odds(sparsity: float, floor: float) -> float:
    bounded = min(max(sparsity, floor), 1.0 - floor)
    return math.log(bounded / (1.0 - bounded))
