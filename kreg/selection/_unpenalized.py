"""How long to train without a penalty, to compare penalties with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Unpenalized:
    """In place of strengths: training without any, as long as with them.

    A linear model is trained to the minimum, with as many passes at most as
    a path makes at all its points. Of a network the minimum may fit noise, so
    it is trained in portions, each of which is a point of its own.

    Args:
        points: int, the points of the longest path.
        portions: int, how many portions a network is trained for.
    """

    points: int
    portions: int

    def up_to(self, number: int) -> "Unpenalized":
        """The first portions of a network; a linear model has one."""
        return replace(self, portions=number)

    def strengths(self, linear: bool) -> list[float]:
        """The strength of each point."""
        return [0.0] * (1 if linear else self.portions)

    def epochs(self, epochs: int, linear: bool) -> int:
        """How many passes a point may make, where a path's may `epochs`."""
        return epochs * self.points if linear else epochs


def unpenalized_beside(
    grids: Mapping[str, Sequence[float]], penalties: Mapping[str, Any]
) -> Unpenalized:
    """What no penalty is given beside the paths of penalties.

    Args:
        grids: the strengths of each penalty, by name.
        penalties: the penalties; None for no penalty.
    """
    longest = max(
        len(grids[name]) if penalty is not None else 1
        for name, penalty in penalties.items()
    )
    return Unpenalized(longest, longest)
