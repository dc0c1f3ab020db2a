"""Axes, colours and labels for all plots."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

# `matplotlib.axes.Axes`; matplotlib is imported only to draw.
Axes: TypeAlias = Any

# Okabe and Ito's palette: distinct for colour-blind people, and in greyscale.
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
# The minimum vertical distance of two labels, as a fraction of the axes.
_LABEL_HEIGHT = 0.055
# Labels that are horizontally closer than this fraction of the axes may touch.
_LABEL_WIDTH = 0.2
_ROW_INCHES = 0.2


def axes_for(ax: Axes | None, rows: int = 0) -> Axes:
    """The axes to draw into; new ones for None.

    Args:
        ax: axes, or None.
        rows: the number of named rows for which new axes have room.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `ax` is neither axes nor None.
    """
    try:
        import matplotlib.axes
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib, which is not installed: "
            "run `pip install 'kreg[plot]'`"
        ) from error
    if ax is None:
        from matplotlib import pyplot

        height = max(4.0, _ROW_INCHES * rows + 0.8)
        _, ax = pyplot.subplots(figsize=(6.4, height), layout="constrained")
    elif not isinstance(ax, matplotlib.axes.Axes):
        raise TypeError(
            "`ax` must be the axes of matplotlib to draw into, or None for "
            f"new ones. Received: ax={ax!r} (of type {type(ax).__name__})"
        )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def strength_axis(ax: Axes, strengths: Iterable[float]) -> list[float]:
    """Set the x axis to strengths, on a logarithmic scale if there are several.

    Returns:
        The position of each strength on the axis. On a logarithmic scale, 0 is
        placed left of the smallest other strength, at the usual distance.
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
    ax.annotate(
        "0",
        (zero, 0.0),
        (0.0, -ax.xaxis.get_tick_padding() - 3.5),
        xycoords=ax.get_xaxis_transform(),
        textcoords="offset points",
        ha="center",
        va="top",
    )
    return [value if value > 0 else zero for value in values]


def label_ends(
    ax: Axes,
    labels: Sequence[tuple[float, str, str]],
    *,
    at_left: bool = False,
) -> None:
    """Write labels beside the axes, at the ends of their lines.

    Args:
        ax: the axes, with their final limits.
        labels: the height of the end of each line, its text, its colour.
        at_left: True for labels left of the axes, False for right.
    """
    finite = [label for label in labels if math.isfinite(label[0])]
    low, high = ax.get_ylim()
    heights = [(y - low) / (high - low) for y, _, _ in finite]
    for height, (_, text, colour) in zip(_spread(heights), finite, strict=True):
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
    ax: Axes, labels: Sequence[tuple[float, float, str, str]]
) -> None:
    """Write labels above points, moved up if they would touch.

    Args:
        ax: the axes, with their final limits.
        labels: x and y of each point, its text, its colour.
    """
    finite = [label for label in labels if math.isfinite(label[1])]
    left, right = ax.get_xlim()
    low, high = ax.get_ylim()
    written: list[tuple[float, float]] = []
    for x, y, text, colour in sorted(finite, key=lambda label: label[1]):
        place = (x - left) / (right - left)
        height = (y - low) / (high - low) + _LABEL_HEIGHT
        near = [h for at, h in written if abs(at - place) < _LABEL_WIDTH]
        height = max([height, *(h + _LABEL_HEIGHT for h in near)])
        written.append((place, height))
        is_right = place > 0.8
        ax.text(
            place + (-0.025 if is_right else 0.025),
            height,
            text,
            transform=ax.transAxes,
            color=colour,
            va="center",
            ha="right" if is_right else "left",
            fontsize="small",
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0},
        )


def name_rows(ax: Axes, names: Sequence[str], number: int) -> None:
    """Label rows from top to bottom, in the largest font that fits.

    Args:
        ax: the axes.
        names: the name of each row.
        number: the number of features, shown or not.
    """
    rows = max(len(names), 1)
    room = 72.0 * ax.get_window_extent().height / ax.figure.dpi / rows
    ax.set_yticks(range(len(names)), names, fontsize=min(10.0, 0.8 * room))
    ax.set_ylim(rows - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if len(names) < number:
        ax.set_ylabel(f"the first {len(names)} of {number} features")


def mark_chosen(ax: Axes, place: float, strength: float) -> None:
    """Draw a vertical line at the chosen strength, with its value."""
    ax.axvline(place, color="black", linewidth=0.8, linestyle="--", zorder=0)
    ax.text(
        place,
        1.01,
        f"{strength:.3g}",
        transform=ax.get_xaxis_transform(),
        ha="center",
        fontsize="small",
    )


def readable(metric: str) -> str:
    """The name of a metric in words."""
    return metric.replace("_", " ")


def _spread(heights: Sequence[float]) -> list[float]:
    """Move heights apart as little as possible, in the same order."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    # Groups of neighbours that touch, each centred on its members.
    groups: list[list[int]] = []

    def bottom(group: list[int]) -> float:
        centre = sum(heights[i] for i in group) / len(group)
        return centre - _LABEL_HEIGHT * (len(group) - 1) / 2

    for i in order:
        groups.append([i])
        while len(groups) > 1 and bottom(groups[-1]) < bottom(
            groups[-2]
        ) + _LABEL_HEIGHT * len(groups[-2]):
            last = groups.pop()
            groups[-1].extend(last)
    moved: dict[int, Any] = {}
    for group in groups:
        for place, i in enumerate(group):
            moved[i] = bottom(group) + _LABEL_HEIGHT * place
    return [moved[i] for i in range(len(heights))]
