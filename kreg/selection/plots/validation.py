"""Plots of the validation figure against the strength or the sparsity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kreg.selection.comparison.result import CompareResult
from kreg.selection.paths.result import PathResult
from kreg.selection.plots.axes import (
    COLOURS,
    Axes,
    axes_for,
    label_ends,
    label_points,
    mark_chosen,
    readable,
    strength_axis,
)


@dataclass(frozen=True)
class Curve:
    """The validation figures of one penalty.

    Args:
        label: the name of the penalty.
        strengths: increasing strengths; only 0.0 if there is no penalty.
        means: the monitored metric at each strength.
        errors: the standard error of each mean; None for a single run.
        sparsities: the sparsity at each strength.
        chosen: the index of the chosen strength.
    """

    label: str
    strengths: Sequence[float]
    means: Sequence[float]
    errors: Sequence[float] | None
    sparsities: Sequence[float]
    chosen: int


def curves_of(result: Any) -> list[Curve]:
    """The curves of a path or a comparison, with the chosen penalty last.

    Raises:
        TypeError: if `result` is neither.
        ValueError: if a path has no validation figures.
    """
    if isinstance(result, PathResult):
        return [_curve_of_path(result)]
    if isinstance(result, CompareResult):
        names = sorted(
            result.penalties, key=lambda name: name == result.chosen_penalty
        )
        return [_curve_of_penalty(result, name) for name in names]
    raise TypeError(
        "`result` must be a `PathResult` or a `CompareResult`. "
        f"Received: result of type {type(result).__name__}"
    )


def _curve_of_path(result: PathResult) -> Curve:
    best = result.best()
    points = sorted(result.points, key=lambda point: point.strength)
    return Curve(
        label=result.penalty.split("(")[0],
        strengths=[point.strength for point in points],
        means=[p.validation.get(result.monitor, math.nan) for p in points],
        errors=None,
        sparsities=[point.sparsity for point in points],
        chosen=next(i for i, point in enumerate(points) if point is best),
    )


def _curve_of_penalty(result: CompareResult, name: str) -> Curve:
    rows = sorted(result.rows_of(name), key=lambda row: row.strength)
    choice = result.rows[result.choices[name]]
    return Curve(
        label=name,
        strengths=[row.strength for row in rows],
        means=[row.mean for row in rows],
        errors=[row.standard_error for row in rows],
        sparsities=[row.sparsity for row in rows],
        chosen=rows.index(choice),
    )


def plot_validation(
    result: PathResult | CompareResult, ax: Axes | None = None
) -> Axes:
    """Plot the validation figure against the strength, penalty by penalty.

    If there are folds, bars show one standard error of the mean over folds. A
    ring marks the chosen strength of each penalty. The dashed line is the
    strength of the chosen penalty, or of the best point of a path. A model
    without a penalty is a horizontal line with its standard error.

    Args:
        result: a `PathResult` with validation figures, or a `CompareResult`.
        ax: matplotlib's axes to draw into. Defaults to `None`: new ones.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if an argument is of the wrong type.
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
    """A colour for each penalty; the chosen one gets the first."""
    return {
        curve.label: COLOURS[i % len(COLOURS)]
        for i, curve in enumerate(reversed(curves))
    }


def _is_constant(curve: Curve) -> bool:
    """Whether the curve is that of training without a penalty."""
    return not any(curve.strengths)


def plot_sparsity(
    result: PathResult | CompareResult, ax: Axes | None = None
) -> Axes:
    """Plot the validation figure against the sparsity, penalty by penalty.

    It shows what a smaller model costs. Each point is a strength; the filled
    point is the chosen one. Bars show one standard error of the mean.

    Args:
        result: a `PathResult` with validation figures, or a `CompareResult`.
        ax: matplotlib's axes to draw into. Defaults to `None`: new ones.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if an argument is of the wrong type.
        ValueError: if a path has no validation figures.

    Example:

    >>> import kreg, matplotlib
    >>> matplotlib.use("agg")
    >>> points = [kreg.selection.PathPoint(strength, None, zeros, 1, 0, 0,
    ...     None, {}, {"data_loss": loss}, 1, 1, None, 0.1, True)
    ...     for strength, zeros, loss in [(0.1, 0.5, 3.0), (0.2, 0.9, 2.0)]]
    >>> path = kreg.selection.PathResult(tuple(points), "L1")
    >>> kreg.selection.plot_sparsity(path).get_xlabel()
    'sparsity'
    """
    curves = curves_of(result)
    ax = axes_for(ax)
    colours = colours_of(curves)
    labels = []
    for curve in curves:
        colour = colours[curve.label]
        ax.errorbar(
            curve.sparsities,
            curve.means,
            curve.errors,
            color=colour,
            linewidth=0.8,
            elinewidth=0.8,
            marker="o",
            markersize=4,
            markerfacecolor="white",
        )
        chosen = curve.sparsities[curve.chosen], curve.means[curve.chosen]
        ax.plot(*chosen, marker="o", markersize=8, color=colour, zorder=3)
        labels.append((*chosen, curve.label, colour))
    ax.set_xlabel("sparsity")
    ax.set_ylabel(f"validation {readable(result.monitor)}")
    label_points(ax, labels)
    return ax
