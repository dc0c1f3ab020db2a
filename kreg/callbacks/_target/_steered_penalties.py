"""Penalties whose strengths move together."""

import math
from collections.abc import Sequence

from keras import ops

from kreg._types import Tensor
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
