"""One sparsity that is steered to a target."""

from collections.abc import Callable, Sequence

import keras

from kreg._types import Tensor
from kreg.callbacks._target._first_strength import first_log_factor
from kreg.callbacks._target._shares import Share
from kreg.callbacks._target._steered_penalties import SteeredPenalties
from kreg.callbacks._target._strength_controller import (
    RAMP_END,
    SEEN,
    StrengthController,
)

# Updates without a penalty before the first strength is chosen: an adaptive
# optimizer has to see the size of gradients.
_LISTENING = 5
# The part of a training after which a bound that is still in the way is told.
_PATIENCE = 0.05


class Steering:
    """Steers the sparsity of what a share's penalties act on.

    Args:
        share: the penalties, and what is counted.
        bounds: the lowest and the highest multiplier.
        variables: all weights that are looked at, in order.
        target: the sparsity to end with.
    """

    def __init__(
        self,
        share: Share,
        bounds: tuple[float, float],
        variables: Sequence[keras.Variable],
        target: float,
    ) -> None:
        self.share = share
        self.bounds = bounds
        self.target = target
        self.sparsity = self.desired = 0.0
        self.has_acted = False
        self._penalties = SteeredPenalties(share.penalties, bounds)
        self._variables = variables
        self._controller: StrengthController | None = None
        self._idle_since: int | None = None
        self._bounded_since: float | None = None
        self._progress = 0.0

    @property
    def has_reached(self) -> bool:
        """Whether it is within half a point, rounded to whole entries."""
        away = abs(self.target - self.sparsity) * self.share.total
        return away <= 0.005 * self.share.total + 1.0

    @property
    def is_bounded(self) -> bool:
        """Whether a bound has kept it from the target for a while."""
        return (
            self._bounded_since is not None
            and self._progress - self._bounded_since >= _PATIENCE
            and not self.has_reached
        )

    def read(self, zeros: int) -> None:
        """Take over how many entries or units are zero."""
        self.sparsity = zeros / self.share.total

    def begin(self, progress: float, step: int, zeros: int) -> None:
        """Go on with strengths that were found before, or without any."""
        self.read(zeros)
        self.desired = self.sparsity
        found = self._penalties.were_steered and self.sparsity > SEEN
        if found or self.sparsity >= self.target / 2:
            self._start(progress)
        else:
            self._idle_since = step
            self._penalties.idle()

    def steer(
        self,
        progress: float,
        step: int,
        optimizer: keras.optimizers.Optimizer,
        updates: int,
        count: Callable[[Sequence[Tensor]], int],
    ) -> None:
        """Move the strengths by what the last reading says.

        Args:
            progress: how much of the training is done, in [0, 1].
            step: the optimizer's iteration.
            optimizer: the model's optimizer.
            updates: how many updates the training has, or is thought to have.
            count: tells how many entries or units would be zero with other
                values of all weights.
        """
        self._progress = progress
        if not self._penalties.act(step):
            return
        self.has_acted = True
        lowest, highest = self._penalties.room(step)
        if self._controller is not None:
            self.desired = self._controller.desired(progress)
            change = self._controller.change(
                progress, self.sparsity, lowest, highest
            )
        elif (
            self._idle_since is not None
            and step < self._idle_since + _LISTENING
        ):
            return
        else:
            change = self._first_change(step, optimizer, updates, count)
            change = min(max(change, lowest), highest)
            self._start(progress)
        self._penalties.move(change, step)
        if change not in (lowest, highest) or self._wants_back(change):
            self._bounded_since = None
        elif self._bounded_since is None:
            self._bounded_since = progress

    def _start(self, progress: float) -> None:
        self._controller = StrengthController(
            self.target, progress, self.sparsity, 1.0 / self.share.total
        )

    def _wants_back(self, change: float) -> bool:
        return (self.desired - self.sparsity) * change < 0

    def _first_change(
        self,
        step: int,
        optimizer: keras.optimizers.Optimizer,
        updates: int,
        count: Callable[[Sequence[Tensor]], int],
    ) -> float:
        members = self.share.members
        strengths = {
            penalty: self._penalties.strengths(penalty, step)
            for penalty in self.share.penalties
        }
        chosen = [self._variables[i] for i in members]

        def sparsity(values: Sequence[Tensor]) -> float:
            given = dict(zip(members, values, strict=True))
            every = range(len(self._variables))
            return (
                count([given.get(i, self._variables[i]) for i in every])
                / self.share.total
            )

        return first_log_factor(
            chosen,
            [strengths[v.regularizer.penalty] for v in chosen],
            optimizer,
            max(RAMP_END * updates, 1.0),
            sparsity,
            self.target,
        )
