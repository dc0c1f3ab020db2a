"""Paths of weights and layers where there is little room for them."""

from collections.abc import Sequence
from itertools import accumulate

from rich.cells import cell_len

READABLE = 16
"""The characters that a shortened name has where there is room for them."""


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names or paths that fit into a width, such as `encoder/…/kernel`.

    Those that are too wide lose whole parts between slashes, the same in all,
    so that as many as possible stay different and keep their beginning. Only a
    last part that is too wide by itself loses letters.

    Args:
        names: the names.
        width: the most characters of each that are left.
    """
    if max(map(cell_len, names), default=0) <= width:
        return list(names)
    return max(
        (
            [_fitted(name, first, last, width) for name in names]
            for first, last in _ways(names)
        ),
        key=lambda way: (
            len(set(way)),
            -sum(name.startswith("…") for name in way),
            sum(map(len, way)),
        ),
    )


def shortened_lines(cells: Sequence[str], width: int) -> list[str]:
    """The same for cells of several names, one a line."""
    lines = shortened([n for cell in cells for n in cell.split("\n")], width)
    counts = [cell.count("\n") + 1 for cell in cells]
    ends = accumulate(counts)
    return [
        "\n".join(lines[end - count : end])
        for end, count in zip(ends, counts, strict=True)
    ]


def width_that_tells_apart(cells: Sequence[str]) -> int:
    """The least width at which shortened names stay different."""
    names = [name for cell in cells for name in cell.split("\n")]
    widths = [max(map(cell_len, names), default=0)]
    for first, last in _ways(names):
        way = [_without_middle(name, first, last) for name in names]
        if len(set(way)) == len(set(names)):
            widths.append(max(READABLE, *map(cell_len, way)))
    return min(widths)


def _ways(names: Sequence[str]) -> list[tuple[int, int]]:
    """How many parts to keep at the start and at the end of paths."""
    most = max(1, *(name.count("/") for name in names))
    return [
        (first, last)
        for first in range(most)
        for last in range(1, most + 1 - first)
    ]


def _fitted(name: str, first: int, last: int, width: int) -> str:
    if cell_len(name) <= width:
        return name
    own = name.rpartition("/")[2]
    for text in (_without_middle(name, first, last), f"…/{own}", own):
        if cell_len(text) <= width:
            return text
    start = (width - 1) // 2
    end = max(width - 1 - start, 0)
    return f"{own[:start]}…{own[len(own) - end :]}"


def _without_middle(name: str, first: int, last: int) -> str:
    """The first and last parts of a path with `…` between."""
    parts = name.split("/")
    if len(parts) <= first + last:
        return name
    return "/".join([*parts[:first], "…", *parts[-last:]])
