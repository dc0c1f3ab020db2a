"""One sparsity that is steered to a target."""

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kreg._types import Tensor
from kreg.callbacks._target.controller import (
    RAMP_END,
    SEEN,
    StrengthController,
    first_log_factor,
)
from kreg.callbacks._target.steered_weights import SteeredWeights
from kreg.regularizers import Penalty


class SteeredPenalties:
    """Moves the strengths of some penalties by a common factor.

    What is moved is the strength, `base(step) * multiplier`. Where the base
    follows a schedule, the multiplier makes up for its way.

    Args:
        penalties: the penalties. Their strengths keep the proportions that
            they have at first, as do those of one penalty at each step.
        bounds: the lowest and the highest multiplier.
    """

    def __init__(
        self, penalties: Sequence[Penalty], bounds: tuple[float, float]
    ) -> None:
        self.penalties = tuple(penalties)
        self._bounds = bounds
        self._multipliers = [p.multiplier or 1.0 for p in penalties]
        # The bases that those multipliers go with, once they are not 0.
        self._first_bases = [0.0] * len(self.penalties)
        self._log_factor = 0.0

    @property
    def were_steered(self) -> bool:
        """Whether the multipliers are not what they are by default."""
        return any(m != 1.0 for m in self._multipliers)

    def act(self, step: int) -> bool:
        """Whether any strength is not 0 at `step`, whatever its multiplier."""
        return any(base > 0.0 for base in self._bases(step))

    def strengths(self, penalty: Penalty, step: int) -> dict[str, float]:
        """The strengths of a penalty at `step`, as steered."""
        multiplier = self._wanted(step)[self.penalties.index(penalty)]
        return _numbers(penalty.strengths(step, multiplier))

    def room(self, step: int) -> tuple[float, float]:
        """How far the logarithm of the strengths may move, down and up."""
        logs = [math.log(m) for m in self._wanted(step)]
        lowest, highest = map(math.log, self._bounds)
        return (
            min(lowest - min(logs), 0.0),
            max(highest - max(logs), 0.0),
        )

    def move(self, change: float, step: int) -> None:
        """Multiply all strengths by `exp(change)`."""
        self._log_factor += change
        lowest, highest = self._bounds
        for penalty, multiplier in zip(
            self.penalties, self._wanted(step), strict=True
        ):
            penalty.multiplier = min(max(multiplier, lowest), highest)

    def idle(self) -> None:
        """Switch the penalties off until they are moved again."""
        for penalty in self.penalties:
            penalty.multiplier = 0.0

    def _wanted(self, step: int) -> list[float]:
        factor = math.exp(self._log_factor)
        wanted = []
        for i, base in enumerate(self._bases(step)):
            if base > 0.0 and self._first_bases[i] == 0.0:
                self._first_bases[i] = base
            way = base / self._first_bases[i] if base > 0.0 else 1.0
            wanted.append(self._multipliers[i] * factor / way)
        return wanted

    def _bases(self, step: int) -> list[float]:
        return [
            sum(_numbers(penalty.strengths(step, 1.0)).values())
            for penalty in self.penalties
        ]


def _numbers(strengths: dict[str, Tensor | float]) -> dict[str, float]:
    return {
        name: value
        if isinstance(value, float)
        else float(ops.convert_to_numpy(value))
        for name, value in strengths.items()
    }


# Updates without a penalty before the first strength is chosen: an adaptive
# optimizer has to see the size of gradients.
_LISTENING = 5
# The part of a training after which a bound that is still in the way is told.
_PATIENCE = 0.05


class Steering:
    """Steers the sparsity of some weights to a target.

    Args:
        weights: the weights, with their penalties.
        bounds: the lowest and the highest multiplier.
        variables: all weights that are looked at, in order.
        target: the sparsity to end with.
    """

    def __init__(
        self,
        weights: SteeredWeights,
        bounds: tuple[float, float],
        variables: Sequence[keras.Variable],
        target: float,
    ) -> None:
        self.weights = weights
        self.bounds = bounds
        self.target = target
        self.sparsity = self.desired = 0.0
        self.has_acted = False
        self._penalties = SteeredPenalties(weights.penalties, bounds)
        self._variables = variables
        self._controller: StrengthController | None = None
        self._idle_since: int | None = None
        self._bounded_since: float | None = None
        self._progress = 0.0

    @property
    def has_reached(self) -> bool:
        """Whether it is within half a point, rounded to whole entries."""
        away = abs(self.target - self.sparsity) * self.weights.total
        return away <= 0.005 * self.weights.total + 1.0

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
        self.sparsity = zeros / self.weights.total

    def begin(self, progress: float, step: int, zeros: int) -> None:
        """Go on with strengths that were steered before, or without any."""
        self.read(zeros)
        self.desired = self.sparsity
        goes_on = self._penalties.were_steered and self.sparsity > SEEN
        if goes_on or self.sparsity >= self.target / 2:
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
            self.target, progress, self.sparsity, 1.0 / self.weights.total
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
        members = self.weights.members
        strengths = {
            penalty: self._penalties.strengths(penalty, step)
            for penalty in self.weights.penalties
        }
        chosen = [self._variables[i] for i in members]

        def sparsity(values: Sequence[Tensor]) -> float:
            replaced = dict(zip(members, values, strict=True))
            every = range(len(self._variables))
            return (
                count([replaced.get(i, self._variables[i]) for i in every])
                / self.weights.total
            )

        return first_log_factor(
            chosen,
            [strengths[v.regularizer.penalty] for v in chosen],
            optimizer,
            updates=max(RAMP_END * updates, 1.0),
            sparsity=sparsity,
            target=self.target,
        )
