"""The strengths of a path."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from kreg._arguments import positive_integer, positive_number, real_number

Direction = Literal["auto", "up", "down"]


def geometric_grid(largest: float, number: int, ratio: float) -> list[float]:
    """Strengths from `largest` down to `ratio * largest`, evenly in the log."""
    if number == 1:
        return [largest]
    return [float(s) for s in np.geomspace(largest, ratio * largest, number)]


def checked_grid(num_strengths: Any, ratio: Any) -> tuple[int, float]:
    """The two numbers of a geometric grid.

    Raises:
        ValueError: if there is no strength, or the ratio is not in (0, 1).
    """
    number = positive_integer("num_strengths", num_strengths)
    checked = positive_number("ratio", ratio)
    if checked >= 1.0:
        raise ValueError(
            "`ratio` must be below 1: it is the smallest strength over the "
            f"largest. Received: ratio={ratio!r}"
        )
    return number, checked


def checked_strengths(strengths: Any) -> list[float] | None:
    """The strengths that a user gave; None for `"auto"`.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if there are none, or one is negative or there twice.
    """
    if isinstance(strengths, str) and strengths == "auto":
        return None
    if isinstance(strengths, str) or not isinstance(strengths, Iterable):
        raise TypeError(
            '`strengths` must be "auto" or an iterable of numbers. '
            f"Received: strengths={strengths!r}"
        )
    given = [real_number("strengths", strength) for strength in strengths]
    if not given or min(given) < 0.0 or len(set(given)) < len(given):
        raise ValueError(
            "`strengths` must hold different non-negative numbers, one at "
            f"least. Received: strengths={given}"
        )
    return given


def checked_direction(direction: Any) -> Direction:
    """`direction`, if it is one."""
    if direction not in ("auto", "up", "down"):
        raise ValueError(
            '`direction` must be "auto", "up" or "down". '
            f"Received: direction={direction!r}"
        )
    return direction
