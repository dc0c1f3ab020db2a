"""Controllers: compute how to move a strength from the sparsity so far."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

RAMP_END = 0.65
"""The progress at which the desired sparsity reaches the target."""

REST_START = 0.88
"""The progress from which on the strength is nearly at rest.

It is 0.88 so that the strength rests for a tenth of the training even if this
ends 2 % early.
"""

VISIBLE_SPARSITY = 0.02
"""Below this sparsity, the strength has not had a visible effect yet."""

# At rest, the logarithm of the strength stays within a band of this width, a
# little less than 5 %.
_REST_BAND = math.log(1.045)
# Time constants, in parts of the whole training.
_RESPONSE, _DRIFT_RESPONSE = 0.02, 0.08
# The target is led by this fraction of the strength's drift, in log-odds, up to
# a limit.
_DRIFT_SHARE, _LARGEST_LEAD = 0.15, 0.06
_SMOOTHING, _TREND, _LOOK, _ARRIVAL = 0.008, 0.03, 0.05, 0.45
_PROPORTIONAL = 0.5
# The fastest rise of the strength's logarithm, per whole training. A faster
# rise would outrun its own effect on the sparsity.
_FASTEST_RISE = 25.0
_LARGEST_GAP = 0.3
_LARGEST_FALL = 2.0
_HASTY, _HASTE = 0.012, 3.0


class Controller(ABC):
    """Moves a strength so that a sparsity reaches a target.

    Args:
        target: the sparsity to end with, in [0, 1).
        progress: the fraction of the training that is done, in [0, 1].
        sparsity: the present sparsity.
    """

    SIZE: ClassVar[int]
    """The length of `memory`."""

    def __init__(self, target: float, progress: float, sparsity: float) -> None:
        self._target = target
        self._start = (progress, sparsity)
        self._time = progress

    @property
    @abstractmethod
    def memory(self) -> tuple[float, ...]:
        """The state of the controller, for `recall`."""

    @abstractmethod
    def recall(self, memory: Sequence[float]) -> None:
        """Restore the state of a controller with the same target."""

    def desired(self, progress: float) -> float:
        """The sparsity at some progress on a cubic path to the target."""
        began, sparsity = self._start
        if progress >= RAMP_END or began >= RAMP_END:
            return self._target
        left = (RAMP_END - progress) / (RAMP_END - began)
        return self._target + (sparsity - self._target) * left**3

    @abstractmethod
    def change(
        self,
        progress: float,
        sparsity: float,
        lowest: float = -math.inf,
        highest: float = math.inf,
    ) -> float:
        """The amount by which to move the logarithm of the strength.

        Args:
            progress: the fraction of the training that is done, in [0, 1].
            sparsity: the present sparsity.
            lowest: the lowest possible change.
            highest: the highest possible change.
        """


class StrengthController(Controller):
    """Moves a strength so that a sparsity follows a path to a target.

    The path is a cubic. It rises from the sparsity at the start, fast at
    first, and stays at the target from 65 % of the training on. The gap between
    path and sparsity is measured in log-odds, so that it means the same at 2 %
    and at 98 %. The logarithm of the strength moves in proportion to the gap,
    to the change of the gap, and to the integral of past gaps, called the
    drift. From 88 % of the training on it stays within a band of 5 %.

    Args:
        target: the sparsity to end with, in [0, 1).
        progress: the fraction of the training that is done, in [0, 1].
        sparsity: the present sparsity.
        resolution: the smallest change of the sparsity, such as 1 divided by
            the number of weights.
    """

    SIZE = 9

    def __init__(
        self,
        target: float,
        progress: float,
        sparsity: float,
        resolution: float,
    ) -> None:
        super().__init__(target, progress, sparsity)
        self._floor = min(max(resolution, 0.002), 0.25)
        self._sparsity = sparsity
        self._trend = self._drift = 0.0
        self._gap = self._gap_at(progress, sparsity)
        # How far the largest strength at rest so far lies above the present
        # one, and how far the smallest lies below it.
        self._above = self._below = 0.0

    @property
    def memory(self) -> tuple[float, ...]:
        return (
            *self._start,
            self._time,
            self._sparsity,
            self._trend,
            self._drift,
            self._gap,
            self._above,
            self._below,
        )

    def recall(self, memory: Sequence[float]) -> None:
        self._start = (memory[0], memory[1])
        (
            self._time,
            self._sparsity,
            self._trend,
            self._drift,
            self._gap,
            self._above,
            self._below,
        ) = memory[2:]

    def change(
        self,
        progress: float,
        sparsity: float,
        lowest: float = -math.inf,
        highest: float = math.inf,
    ) -> float:
        elapsed = progress - self._time
        if elapsed <= 0.0:
            return 0.0
        before = self._gap
        self._observe(progress, elapsed, sparsity)
        seen = self._sparsity > VISIBLE_SPARSITY
        pull = self._pull(progress) if seen else self._gap
        unbounded = pull * min(elapsed / _RESPONSE, 1.0) + self._drift * elapsed
        if seen:
            unbounded += _PROPORTIONAL * (self._gap - before)
        step = max(-_LARGEST_FALL, min(_FASTEST_RISE * elapsed, unbounded))
        # At one of these limits, the drift does not grow.
        allowed = max(lowest, min(highest, step))
        if progress >= REST_START:
            allowed = self._within_band(allowed)
        elif progress > RAMP_END and allowed == unbounded:
            self._drift += pull * elapsed / (_RESPONSE * _DRIFT_RESPONSE)
        return allowed

    def _observe(
        self, progress: float, elapsed: float, sparsity: float
    ) -> None:
        """Update the smoothed sparsity, and its smoothed rate of change."""
        start, first = self._start
        # Sparsities near 0 at the start say little, so smooth less at first.
        span = progress - start if first <= VISIBLE_SPARSITY else 1.0
        weight = -math.expm1(-elapsed / min(_SMOOTHING, 0.1 * span))
        before = self._sparsity
        self._sparsity += weight * (sparsity - before)
        weight = -math.expm1(-elapsed / min(_TREND, 0.2 * span))
        rate = (self._sparsity - before) / elapsed
        self._trend += weight * (rate - self._trend)
        self._time = progress
        self._gap = self._gap_at(progress, self._sparsity)

    def _pull(self, progress: float) -> float:
        """The gap that moves the strength.

        If the trend of the sparsity already closes the gap, it is smaller than
        the present gap, or 0. The sparsity lags behind the strength, so the
        full gap would move the strength too far.
        """
        gap = self._gap
        if gap <= 0:
            return self._hastened(
                min(max(gap, self._gap_ahead(progress, _LOOK)), 0.0)
            )
        near = self._gap_ahead(max(progress, RAMP_END), _LOOK)
        if near < 0:
            return self._hastened(near)
        horizon = max(_ARRIVAL - progress, _LOOK)
        pull = max(min(gap, self._gap_ahead(progress + horizon, horizon)), 0.0)
        return pull if self._trend < 0 else min(pull, _LARGEST_GAP)

    def _hastened(self, pull: float) -> float:
        """A downward pull, amplified if the excess of zeros exceeds the noise.

        Haste is needed because a zeroed weight may never come back.
        """
        bounded = min(max(self._sparsity, self._floor), 1.0 - self._floor)
        excess = -pull * bounded * (1.0 - bounded)
        return pull * (_HASTE if excess > _HASTY else 1.0)

    def _gap_ahead(self, progress: float, horizon: float) -> float:
        """The gap at `progress`, if the trend of the sparsity continues."""
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
        """The offset of the target, in log-odds, against the later drift.

        For example, if the strength had to fall to hold the sparsity, the
        sparsity will rise once the strength rests. So the controller aims
        lower.
        """
        rest_length = 1.0 - REST_START
        near = max(0.0, 1.0 - abs(progress - REST_START) / rest_length)
        lead = near * rest_length * _DRIFT_SHARE * self._drift
        return min(max(lead, -_LARGEST_LEAD), _LARGEST_LEAD)

    def _within_band(self, step: float) -> float:
        """`step`, clipped to keep the strength at rest within the band."""
        left = (1.0 - self._start[0]) / (1.0 - REST_START)
        band = _REST_BAND * min(1.0, max(left, 0.0))
        step = min(step, band - self._below)
        step = max(step, self._above - band)
        self._above = max(self._above - step, 0.0)
        self._below = max(self._below + step, 0.0)
        return step


def _log_odds(sparsity: float, floor: float) -> float:
    bounded = min(max(sparsity, floor), 1.0 - floor)
    return math.log(bounded / (1.0 - bounded))
