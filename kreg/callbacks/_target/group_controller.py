"""The controller of a strength whose penalties make whole groups zero."""

import math
from collections.abc import Callable, Sequence

from kreg.callbacks._target.controller import RAMP_END, Controller
from kreg.callbacks._target.group_norms import Nearest

# The norm of the last group should fall like a square: a norm that falls in
# proportion to `left**2` would at its present rate be 0 after `left / 2`.
_POWER = 2.0
# The shortest time to zero that is aimed at, in parts of the whole training.
_SHORTEST = 0.05
# At their present rate, the groups that should stay must not become zero
# within this part of the training. A shorter time means that the strength
# crushes all groups alike, and groups without gradients cannot be saved.
_SAFE = 0.3
# If they would last for longer than this, the strength may rise quickly.
_LONG = 2.0
# Time constants of the measured rates, of a rise beyond the peak of the
# strength, and of a fall and the return from it. A fall is quick because most
# groups do not come back.
_TREND, _SLOW, _QUICK = 0.02, 0.04, 0.02
_SLOW_RISE, _QUICK_RISE, _LARGEST_FALL = 0.3, 1.0, 2.0
# The strength falls no further below its peak: then it has no effect any more.
_DEEPEST_FALL = math.log(1e3)
_SOON, _NEVER = 1e-3, 1e3


class GroupController(Controller):
    """Moves a strength so that groups become zero up to a target, one by one.

    Groups shrink for a long time before the first of them is zero, and they do
    not come back. In a deep network they also need each other: once many have
    vanished, the gradients of the others vanish too. So the sparsity tells too
    late where a strength leads. This controller looks at the norms instead. The
    smallest groups become zero first. From the rate at which the norm of the
    last group to go falls, it knows when the target will be reached, and moves
    the logarithm of the strength by that of the ratio of this time to the time
    left. When the target is reached, the strength falls until the smallest
    group that stays will last to the end. All the while it lets the groups that
    stay shrink only slowly, even if the target is then missed.

    Args:
        target: the sparsity to end with, in [0, 1).
        progress: the fraction of the training that is done, in [0, 1].
        sparsity: the present sparsity.
        nearest: measures the norms of the groups around the target.
    """

    SIZE = 10

    def __init__(
        self,
        target: float,
        progress: float,
        sparsity: float,
        nearest: Callable[[], Nearest],
    ) -> None:
        super().__init__(target, progress, sparsity)
        self._measure = nearest
        self._norms = nearest()
        self._rates = Nearest(0.0, 0.0, 0.0)
        self._fallen = 0.0

    @property
    def memory(self) -> tuple[float, ...]:
        return (
            *self._start,
            self._time,
            *self._norms,
            *self._rates,
            self._fallen,
        )

    def recall(self, memory: Sequence[float]) -> None:
        self._start = (memory[0], memory[1])
        self._time = memory[2]
        self._norms = Nearest(*memory[3:6])
        self._rates = Nearest(*memory[6:9])
        self._fallen = memory[9]

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
        self._observe(progress, elapsed)
        pull = self._pull(progress)
        if pull > 0.0 and self._fallen > 0.0:
            # Groups have come back, as units with a bias do.
            step = min(pull, _QUICK_RISE) * min(elapsed / _QUICK, 1.0)
            step = min(step, self._fallen)
        elif pull > 0.0:
            largest = _SLOW_RISE
            if _until_zero(self._norms.staying, self._rates.staying) > _LONG:
                largest = _QUICK_RISE
            step = min(pull, largest) * min(elapsed / _SLOW, 1.0)
        else:
            step = max(pull, -_LARGEST_FALL) * min(elapsed / _QUICK, 1.0)
            step = max(step, self._fallen - _DEEPEST_FALL)
        step = max(lowest, min(highest, step))
        self._fallen = max(self._fallen - step, 0.0)
        return step

    def _observe(self, progress: float, elapsed: float) -> None:
        """Measure the norms, and smooth the rates at which they change."""
        past = progress - self._start[0]
        weight = -math.expm1(-elapsed / min(_TREND, 0.3 * past))
        before, self._norms = self._norms, self._measure()
        self._rates = Nearest(
            *(
                rate + weight * ((now - then) / elapsed - rate)
                if math.isfinite(now) and math.isfinite(then)
                else 0.0
                for rate, now, then in zip(
                    self._rates, self._norms, before, strict=True
                )
            )
        )
        self._time = progress

    def _pull(self, progress: float) -> float:
        """How far the logarithm of the strength is from the right one."""
        last, following, staying = map(_until_zero, self._norms, self._rates)
        if self._norms.last > 0.0:
            left = max((RAMP_END - progress) / _POWER, _SHORTEST)
            pull = math.log(last / left)
        else:
            left = max(1.0 - progress, _SHORTEST)
            pull = min(math.log(following / left), 0.0)
        return min(pull, math.log(staying / _SAFE))


def _until_zero(norm: float, rate: float) -> float:
    """The time until a norm is 0 if it goes on to change at a rate."""
    if norm <= 0.0:
        return _SOON
    return max(min(norm / -rate, _NEVER), _SOON) if rate < 0.0 else _NEVER
