"""The validation figure against the strength."""

from typing import TYPE_CHECKING

import numpy as np

from kreg.selection._compare_result import CompareResult
from kreg.selection._path_result import PathResult
from kreg.selection._plots._axes import (
    COLOURS,
    axes_for,
    label_ends,
    mark_chosen,
    readable,
    strength_axis,
)
from kreg.selection._plots._curve import Curve, curves_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_validation(
    result: PathResult | CompareResult, ax: "Axes | None" = None
) -> "Axes":
    """Plot the validation figure against the strength, penalty by penalty.

    Bars are one standard error of the mean over the folds, where there are
    folds. A ring is the strength that is chosen for its penalty; the dashed
    line is that of the chosen penalty, or of the best point of a path. A
    model without a penalty is a horizontal line with its standard error.

    Args:
        result: a `PathResult` with validation figures, or a `CompareResult`.
        ax: matplotlib's axes to draw into. Defaults to `None`: new ones.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if an argument is of another type.
        ValueError: if a path has no validation figures.

    Example:

    >>> import kreg, matplotlib
    >>> matplotlib.use("agg")
    >>> points = [kreg.selection.PathPoint(strength, None, 0.5, 1, 0, 0, None,
    ...     {}, {"data_loss": loss}, 1, 1, None, 0.1, True)
    ...     for strength, loss in [(0.1, 3.0), (0.2, 2.0), (0.4, 5.0)]]
    >>> path = kreg.selection.PathResult(tuple(points), "L1")
    >>> ax = kreg.selection.plot_validation(path)
    >>> ax.get_ylabel()
    'validation data loss'
    """
    curves = curves_of(result)
    ax = axes_for(ax)
    colours = colours_of(curves)
    strengths = [s for c in curves if not _is_constant(c) for s in c.strengths]
    place_of = dict(zip(strengths, strength_axis(ax, strengths), strict=True))
    ends = []
    for curve in curves:
        colour = colours[curve.label]
        means = np.asarray(curve.means)
        errors = np.asarray(curve.errors) if curve.errors else None
        ends.append((float(means[-1]), curve.label, colour))
        if _is_constant(curve):
            ax.axhline(means[0], color=colour, linewidth=1.2)
            if errors is not None:
                low, high = means[0] - errors[0], means[0] + errors[0]
                ax.axhspan(low, high, color=colour, alpha=0.15, linewidth=0)
            continue
        places = [place_of[strength] for strength in curve.strengths]
        ax.errorbar(
            places,
            means,
            errors,
            color=colour,
            linewidth=1.5,
            elinewidth=0.8,
            marker="." if len(means) < 40 else None,
        )
        place = places[curve.chosen]
        ax.plot(
            place,
            curve.means[curve.chosen],
            marker="o",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=colour,
            markeredgewidth=1.5,
        )
        if curve is curves[-1]:
            mark_chosen(ax, place, curve.strengths[curve.chosen])
    if not strengths:
        ax.set_xticks([])
    ax.set_ylabel(f"validation {readable(result.monitor)}")
    label_ends(ax, ends)
    return ax


def colours_of(curves: list[Curve]) -> dict[str, str]:
    """A colour for each penalty, the first for the chosen one."""
    return {
        curve.label: COLOURS[i % len(COLOURS)]
        for i, curve in enumerate(reversed(curves))
    }


def _is_constant(curve: Curve) -> bool:
    """Whether there is no penalty whose strength could be drawn."""
    return not any(curve.strengths)
