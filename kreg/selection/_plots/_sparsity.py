"""The validation figure against the sparsity."""

from typing import TYPE_CHECKING

from kreg.selection._compare_result import CompareResult
from kreg.selection._path_result import PathResult
from kreg.selection._plots._axes import axes_for, label_points, readable
from kreg.selection._plots._curve import curves_of
from kreg.selection._plots._validation import colours_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_sparsity(
    result: PathResult | CompareResult, ax: "Axes | None" = None
) -> "Axes":
    """Plot the validation figure against the sparsity, penalty by penalty.

    It tells what a smaller model costs. Each point is a strength; bars are
    one standard error of the mean, and a filled point is the strength that is
    chosen.

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
