"""Axes, colours and labels that all plots share."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's, told apart by colour-blind people too, and in grey.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
GREY = "#999999"
_APART = 0.055  # of the height of the axes, between two labels


def axes_for(ax: "Axes | None") -> "Axes":
    """The axes to draw into, new ones for None.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `ax` is no axes.
    """
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib, which is not installed: "
            "run `pip install 'kreg[plot]'`"
        ) from error
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    elif not isinstance(ax, Axes):
        raise TypeError(
            "`ax` must be the axes of matplotlib to draw into, or None for "
            f"new ones. Received: ax={ax!r} (of type {type(ax).__name__})"
        )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def strength_axis(ax: "Axes", strengths: Iterable[float]) -> list[float]:
    """Make x the strength, on a logarithmic scale if there are several.

    Returns:
        Where each strength is drawn. On a logarithmic scale 0 is put one
        spacing left of the smallest other strength.
    """
    ax.set_xlabel("strength")
    values = list(strengths)
    positive = sorted({value for value in values if value > 0})
    if len(set(values)) < 2:
        return values
    ax.set_xscale("log")
    if len(positive) == len(set(values)):
        return values
    spacing = 10.0
    if len(positive) > 1:
        spacing = (positive[-1] / positive[0]) ** (1 / (len(positive) - 1))
    zero = positive[0] / max(spacing, 2.0)
    ax.axvline(zero, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    ax.text(
        zero,
        1.01,
        "0",
        transform=ax.get_xaxis_transform(),
        ha="center",
        color=GREY,
    )
    return [value if value > 0 else zero for value in values]


def label_ends(
    ax: "Axes",
    labels: Sequence[tuple[float, str, str]],
    *,
    at_left: bool = False,
) -> None:
    """Write labels beside the axes, at the height of the ends of their lines.

    Args:
        ax: the axes, with their final limits.
        labels: the height of the end of each line, its text, its colour.
        at_left: whether they are left of the axes, and not right.
    """
    known = [label for label in labels if math.isfinite(label[0])]
    low, high = ax.get_ylim()
    heights = [(y - low) / (high - low) for y, _, _ in known]
    for height, (_, text, colour) in zip(_spread(heights), known, strict=True):
        ax.text(
            -0.01 if at_left else 1.01,
            height,
            text,
            transform=ax.transAxes,
            color=colour,
            va="center",
            ha="right" if at_left else "left",
            fontsize="small",
        )


def label_points(
    ax: "Axes", labels: Sequence[tuple[float, float, str, str]]
) -> None:
    """Write labels above points, moved up or down where they would touch.

    Args:
        ax: the axes, with their final limits.
        labels: x and y of each point, its text, its colour.
    """
    known = [label for label in labels if math.isfinite(label[1])]
    left, right = ax.get_xlim()
    low, high = ax.get_ylim()
    heights = _spread([(y - low) / (high - low) + _APART for _, y, *_ in known])
    for height, (x, _, text, colour) in zip(heights, known, strict=True):
        place = (x - left) / (right - left)
        is_right = place > 0.8
        ax.text(
            place + (-0.015 if is_right else 0.015),
            height,
            text,
            transform=ax.transAxes,
            color=colour,
            va="center",
            ha="right" if is_right else "left",
            fontsize="small",
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0},
        )


def mark_chosen(ax: "Axes", strength: float, text: str) -> None:
    """A vertical line at the strength that is chosen, with a word above."""
    ax.axvline(strength, color="black", linewidth=0.8, linestyle="--", zorder=0)
    ax.text(
        strength,
        1.01,
        text,
        transform=ax.get_xaxis_transform(),
        ha="center",
        fontsize="small",
    )


def readable(metric: str) -> str:
    """The name of a metric in words."""
    return metric.replace("_", " ")


def _spread(heights: Sequence[float]) -> list[float]:
    """The heights moved as little as keeps them apart, in the same order."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    # Groups of neighbours that touch, each centred on its members.
    groups: list[list[int]] = []

    def bottom(group: list[int]) -> float:
        centre = sum(heights[i] for i in group) / len(group)
        return centre - _APART * (len(group) - 1) / 2

    for i in order:
        groups.append([i])
        while len(groups) > 1 and bottom(groups[-1]) < bottom(
            groups[-2]
        ) + _APART * len(groups[-2]):
            last = groups.pop()
            groups[-1].extend(last)
    moved: dict[int, Any] = {}
    for group in groups:
        for place, i in enumerate(group):
            moved[i] = bottom(group) + _APART * place
    return [moved[i] for i in range(len(heights))]
