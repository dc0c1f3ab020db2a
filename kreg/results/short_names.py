"""Shortening the paths of weights and layers for narrow columns."""

from collections.abc import Sequence
from itertools import accumulate

from rich.cells import cell_len

READABLE = 16
"""The width below which a name is shortened only as a last resort."""


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Shorten names or paths to a width, as in `encoder/…/kernel`.

    Paths that are too wide lose parts in their middle. All keep the same
    numbers of first and last parts, chosen so that as many names as possible
    stay different and keep their first part. A part itself is cut only if the
    last part alone is too wide.

    Args:
        names: the names.
        width: the maximum length of each shortened name.
    """
    if max(map(cell_len, names), default=0) <= width:
        return list(names)
    return max(
        (
            [_fitted(name, first, last, width) for name in names]
            for first, last in _part_counts(names)
        ),
        key=lambda candidate: (
            len(set(candidate)),
            -sum(name.startswith("…") for name in candidate),
            sum(map(len, candidate)),
        ),
    )


def shortened_lines(cells: Sequence[str], width: int) -> list[str]:
    """Shorten the names in table cells, which hold one name per line."""
    lines = shortened([n for cell in cells for n in cell.split("\n")], width)
    counts = [cell.count("\n") + 1 for cell in cells]
    ends = accumulate(counts)
    return [
        "\n".join(lines[end - count : end])
        for end, count in zip(ends, counts, strict=True)
    ]


def narrowest_distinct_width(cells: Sequence[str]) -> int:
    """The smallest width at which all shortened names stay different."""
    names = [name for cell in cells for name in cell.split("\n")]
    widths = [max(map(cell_len, names), default=0)]
    for first, last in _part_counts(names):
        candidate = [_without_middle(name, first, last) for name in names]
        if len(set(candidate)) == len(set(names)):
            widths.append(max(READABLE, *map(cell_len, candidate)))
    return min(widths)


def _part_counts(names: Sequence[str]) -> list[tuple[int, int]]:
    """Possible numbers of path parts to keep, at the start and at the end."""
    slashes = max(1, *(name.count("/") for name in names))
    return [
        (first, last)
        for first in range(slashes)
        for last in range(1, slashes + 1 - first)
    ]


def _fitted(name: str, first: int, last: int, width: int) -> str:
    """One name shortened to a width: middle parts first, then the last part."""
    if cell_len(name) <= width:
        return name
    last_part = name.rpartition("/")[2]
    for text in (
        _without_middle(name, first, last),
        f"…/{last_part}",
        last_part,
    ):
        if cell_len(text) <= width:
            return text
    start = (width - 1) // 2
    end = max(width - 1 - start, 0)
    return f"{last_part[:start]}…{last_part[len(last_part) - end :]}"


def _without_middle(name: str, first: int, last: int) -> str:
    """A path with its middle parts replaced by `…`."""
    parts = name.split("/")
    if len(parts) <= first + last:
        return name
    return "/".join([*parts[:first], "…", *parts[-last:]])
