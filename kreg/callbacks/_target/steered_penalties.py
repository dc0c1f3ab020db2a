"""`SteeredPenalties`: the penalties whose strengths move together."""

import math
from collections.abc import Sequence

from keras import ops

from kreg._types import Tensor
from kreg.callbacks._target.steered_weights import SteeredWeights
from kreg.regularizers import Penalty


class SteeredPenalties:
    """Moves the strengths of some penalties by a common factor.

    The factor moves the strength, `base(step) * multiplier`. If the base
    follows a schedule, the multiplier compensates for the change of the base.

    Args:
        weights: the weights, with their penalties. The strengths of different
            penalties keep their initial proportions. The strengths of one
            penalty keep the proportions of their schedules at each step.
        bounds: the lowest and the highest multiplier.
    """

    def __init__(
        self, weights: SteeredWeights, bounds: tuple[float, float]
    ) -> None:
        self.penalties = penalties = weights.penalties
        self._step_of = weights.step_of
        self._bounds = bounds
        self._multipliers = [p.multiplier or 1.0 for p in penalties]
        # The first nonzero base of each penalty; multipliers are relative to
        # it.
        self._first_bases = [0.0] * len(self.penalties)
        self._log_factor = 0.0

    @property
    def log_factor(self) -> float:
        """The logarithm of the factor by which strengths have moved."""
        return self._log_factor

    @property
    def were_steered(self) -> bool:
        """Whether any multiplier differed from its default, 1, at the start."""
        return any(m != 1.0 for m in self._multipliers)

    def is_any_positive(self) -> bool:
        """Whether any base strength is above 0 now."""
        return any(base > 0.0 for base in self._bases())

    def strengths(self, penalty: Penalty) -> dict[str, float]:
        """The present strengths of a penalty, with the steered multiplier."""
        multiplier = self._multipliers_now()[self.penalties.index(penalty)]
        step = self._step_of(penalty)
        return _as_floats(penalty.strengths(step, multiplier))

    def log_range(self) -> tuple[float, float]:
        """The lowest and highest change of log strengths within the bounds."""
        logs = [math.log(m) for m in self._multipliers_now()]
        lowest, highest = map(math.log, self._bounds)
        return (
            min(lowest - min(logs), 0.0),
            max(highest - max(logs), 0.0),
        )

    def move(self, change: float) -> None:
        """Multiply all strengths by `exp(change)`."""
        self._log_factor += change
        lowest, highest = self._bounds
        for penalty, multiplier in zip(
            self.penalties, self._multipliers_now(), strict=True
        ):
            penalty.multiplier = min(max(multiplier, lowest), highest)

    def switch_off(self) -> None:
        """Switch the penalties off until `move` or `switch_on`."""
        for penalty in self.penalties:
            penalty.multiplier = 0.0

    def switch_on(self) -> None:
        """Set the multipliers from before `switch_off`."""
        for penalty, multiplier in zip(
            self.penalties, self._multipliers, strict=True
        ):
            penalty.multiplier = multiplier

    @property
    def are_off(self) -> bool:
        """Whether they are switched off."""
        return all(penalty.multiplier == 0.0 for penalty in self.penalties)

    def remember(self, memory: Sequence[float]) -> None:
        """Store the state of this object, and `memory`, in the penalties.

        Args:
            memory: more numbers to store; the first penalty holds them.
        """
        for i, penalty in enumerate(self.penalties):
            own = (self._multipliers[i], self._first_bases[i])
            shared = (self._log_factor, *memory) if i == 0 else ()
            multiplier, before = penalty.steering
            if before != (*own, *shared):
                penalty.steer(multiplier, (*own, *shared))

    def remembered(self) -> tuple[float, ...] | None:
        """The `memory` of the last `remember`; None if there was none."""
        memories = [penalty.steering[1] for penalty in self.penalties]
        sizes = [len(memory) for memory in memories[1:]]
        if len(memories[0]) <= 3 or any(size != 2 for size in sizes):
            return None
        return memories[0][3:]

    def recall(self) -> None:
        """Restore the state of the last `remember`."""
        memories = [penalty.steering[1] for penalty in self.penalties]
        self._multipliers = [memory[0] for memory in memories]
        self._first_bases = [memory[1] for memory in memories]
        self._log_factor = memories[0][2]

    def forget(self) -> None:
        """Remove what `remember` stored."""
        for penalty in self.penalties:
            penalty.steer(penalty.multiplier, ())

    def _multipliers_now(self) -> list[float]:
        """The multipliers before the bounds are applied."""
        factor = math.exp(self._log_factor)
        multipliers = []
        for i, base in enumerate(self._bases()):
            if base > 0.0 and self._first_bases[i] == 0.0:
                self._first_bases[i] = base
            growth = base / self._first_bases[i] if base > 0.0 else 1.0
            multipliers.append(self._multipliers[i] * factor / growth)
        return multipliers

    def _bases(self) -> list[float]:
        return [
            sum(
                _as_floats(
                    penalty.strengths(self._step_of(penalty), 1.0)
                ).values()
            )
            for penalty in self.penalties
        ]


def _as_floats(strengths: dict[str, Tensor | float]) -> dict[str, float]:
    return {
        name: value
        if isinstance(value, float)
        else float(ops.convert_to_numpy(value))
        for name, value in strengths.items()
    }
