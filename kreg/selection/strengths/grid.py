"""`StrengthGrid`: the strengths of a path, chosen by kreg or by the user."""

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from kreg._arguments import (
    list_of,
    one_of,
    positive_integer,
    positive_number,
    real_number,
)

Direction: TypeAlias = Literal["auto", "up", "down"]
_NUM, _RATIO = 30, 1e-3


@dataclass(frozen=True)
class StrengthGrid:
    """The strengths to train at, as a geometric grid or as explicit values.

    It is the `strengths` argument of `kreg.path`, `kreg.compare`,
    `kreg.selection.stability_selection` and the selectors. There `"auto"`
    stands for `StrengthGrid()`, and an iterable of numbers for
    `StrengthGrid(values=numbers)`.

    Without `values` it is a geometric grid from the largest strength down to
    `ratio` times that. The largest strength is the one above which everything
    is zero, as `kreg.strength_max` computes it. If the penalty makes nothing
    zero, it is the strength that shrinks a weight to about 10 % of its size
    without a penalty, or to half of it in a network.

    Args:
        num: int >= 1, the number of strengths of the grid. Defaults to `30`.
        ratio: float in (0, 1), the smallest strength of the grid divided by the
            largest. Defaults to `1e-3`.
        values: a sequence of different numbers >= 0, the strengths
            themselves, in place of `num` and `ratio`. Defaults to `None`.
        direction: `"up"`, from weak to strong, `"down"`, or `"auto"`, the
            default: down if the model has a single kernel, else up.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or `values` are given
            together with `num` or `ratio`.

    Example:

    >>> import kreg
    >>> kreg.selection.StrengthGrid(3, ratio=0.01).below(2.0)
    [2.0, 0.2, 0.02]
    >>> kreg.selection.StrengthGrid(values=[0.2, 0.1], direction="up").values
    (0.2, 0.1)
    """

    num: int = _NUM
    _: KW_ONLY
    ratio: float = _RATIO
    values: Sequence[float] | None = None
    direction: Direction = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "num", positive_integer("num", self.num))
        object.__setattr__(self, "ratio", positive_number("ratio", self.ratio))
        if self.ratio >= 1.0:
            raise ValueError(
                "`ratio` must be below 1: it is the smallest strength divided "
                f"by the largest. Received: ratio={self.ratio!r}"
            )
        one_of("direction", self.direction, ("auto", "up", "down"))
        if self.values is None:
            return
        if (self.num, self.ratio) != (_NUM, _RATIO):
            raise ValueError(
                "`values` cannot be combined with `num` and `ratio`, which are "
                "for a grid that kreg chooses. "
                f"Received: num={self.num}, ratio={self.ratio}, "
                f"values={self.values!r}"
            )
        values = _checked_values("values", self.values)
        object.__setattr__(self, "values", values)

    def below(self, largest: float) -> list[float]:
        """The strengths from `largest` down, evenly spaced in the logarithm."""
        largest = positive_number("largest", largest)
        if self.num == 1:
            return [largest]
        smallest = self.ratio * largest
        return [float(s) for s in np.geomspace(largest, smallest, self.num)]

    def resolved(self, largest: float) -> "StrengthGrid":
        """The grid with the strengths below `largest` as its values."""
        values = tuple(self.below(largest))
        return StrengthGrid(values=values, direction=self.direction)

    def top(self) -> "StrengthGrid":
        """The grid with only the largest strength."""
        return replace(self, num=1)


Strengths: TypeAlias = Literal["auto"] | Iterable[float] | StrengthGrid


@dataclass(frozen=True)
class Unpenalized:
    """Training without a penalty for as long as a path, in place of a grid.

    A linear model is trained to the minimum in one portion, which may make as
    many passes as all points of a path. A network is trained in several
    portions, because it may overfit at its minimum. Each portion is a point, so
    that the best number of portions can be chosen.

    Args:
        portions: int, the number of portions.
        length: int, the maximum number of passes of a portion, in multiples of
            those of a point. Defaults to `1`.
    """

    portions: int
    length: int = 1

    @classmethod
    def beside(cls, points: int, linear: bool) -> "Unpenalized":
        """Training for as long as paths with this many points.

        Args:
            points: the number of points of the longest path.
            linear: whether the model is linear.
        """
        return cls(1, points) if linear else cls(points)

    @property
    def values(self) -> Sequence[float]:
        """The strength of each portion."""
        return (0.0,) * self.portions

    @property
    def direction(self) -> Direction:
        """`"auto"`: all strengths are equal."""
        return "auto"

    def below(self, largest: float) -> list[float]:
        """The strength of each portion; `largest` has no effect."""
        return list(self.values)


def strength_grid(strengths: Any) -> StrengthGrid:
    """The `strengths` of a user as a `StrengthGrid`.

    Args:
        strengths: `"auto"`, an iterable of numbers, or a `StrengthGrid`.

    Raises:
        TypeError: if `strengths` is none of these.
        ValueError: if there is no number, or one is negative or repeated.
    """
    if isinstance(strengths, StrengthGrid):
        return strengths
    if isinstance(strengths, str) and strengths == "auto":
        return StrengthGrid()
    return StrengthGrid(values=_checked_values("strengths", strengths))


def _checked_values(name: str, values: Any) -> tuple[float, ...]:
    auto = '"auto" or ' if name == "strengths" else ""
    values = list_of(name, values, f"{auto}an iterable of numbers")
    numbers = tuple(real_number(name, value) for value in values)
    if not numbers or min(numbers) < 0.0 or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"`{name}` must hold at least one number, all different and none "
            f"negative. Received: {name}={list(numbers)}"
        )
    return numbers
