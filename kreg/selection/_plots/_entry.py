"""At which strengths a model reads each input feature."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kreg._arguments import positive_integer
from kreg.selection._features import entry_order
from kreg.selection._path_result import PathResult
from kreg.selection._plots._axes import (
    COLOURS,
    GREY,
    axes_for,
    mark_chosen,
    name_rows,
    strength_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_entry(
    result: PathResult,
    feature_names: Sequence[str] | None = None,
    ax: "Axes | None" = None,
    *,
    max_features: int = 30,
) -> "Axes":
    """Plot at which strengths the model reads each input feature.

    A row for each feature, those that last longest on top; a bar where it is
    read, which ends at the strength where it enters. The dashed line is the
    best point of the path, if it has validation figures; features that are
    read there are blue, others grey.

    Args:
        result: a `PathResult` of a model with a single flat input.
        feature_names: str of each input feature, in their order. Defaults to
            `None`: features are called by their indices.
        ax: matplotlib's axes to draw into. Defaults to `None`: new ones.
        max_features: int >= 1, how many features are shown at most.
            Defaults to `30`.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if an argument is of another type.
        ValueError: if the path does not tell which features are read, or
            there are fewer names than features.

    Example:

    >>> import kreg, matplotlib
    >>> matplotlib.use("agg")
    >>> points = [kreg.selection.PathPoint(strength, None, 0.5, 1, 0, 0, read,
    ...     {}, {"data_loss": 1.0}, 1, 1, None, 0.1, True)
    ...     for strength, read in [(0.4, ()), (0.2, (2,)), (0.1, (0, 2))]]
    >>> path = kreg.selection.PathResult(tuple(points), "L1")
    >>> ax = kreg.selection.plot_entry(path, ["age", "sex", "bmi"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['bmi', 'age']
    """
    max_features = positive_integer("max_features", max_features)
    entries = entry_order(result, feature_names)
    shown = entries[:max_features]
    ax = axes_for(ax, len(shown))
    points = sorted(result.points, key=lambda point: point.strength)
    places = strength_axis(ax, [point.strength for point in points])
    best = None
    if any(result.monitor in point.validation for point in points):
        best = result.best()
    chosen = {e.feature for e in shown}
    if best is not None:
        chosen = set(best.selected_inputs or ())
    for row, entry in enumerate(shown):
        read = [entry.feature in (p.selected_inputs or ()) for p in points]
        ax.plot(
            places,
            [row if here else float("nan") for here in read],
            color=COLOURS[0] if entry.feature in chosen else GREY,
            linewidth=4,
            solid_capstyle="butt",
            # So that a feature shows that is read at one strength alone.
            marker="s",
            markersize=4,
            markeredgewidth=0,
        )
    name_rows(ax, [entry.name for entry in shown], len(entries))
    if best is not None:
        mark_chosen(ax, places[points.index(best)], best.strength)
    return ax
