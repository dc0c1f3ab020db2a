"""A plot of how often halves of the rows select each input feature."""

from collections.abc import Sequence

from kreg._arguments import positive_integer
from kreg.selection.features.stability_result import StabilityResult
from kreg.selection.plots.axes import (
    COLOURS,
    GREY,
    Axes,
    axes_for,
    name_rows,
)


def plot_stability(
    result: StabilityResult,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    max_features: int = 30,
) -> Axes:
    """Plot how often halves of the rows select each input feature.

    Each feature that any half selects has a row; the most frequent is on top.
    The dashed line is the threshold; stable features are blue, others grey.

    Args:
        result: a `StabilityResult`.
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
        ValueError: if there are fewer names than features.

    Example:

    >>> import kreg, matplotlib
    >>> matplotlib.use("agg")
    >>> result = kreg.selection.StabilityResult(
    ...     ((0, 2), (2,)), num_features=3, limit=2, threshold=0.75)
    >>> ax = kreg.selection.plot_stability(result, ["age", "sex", "bmi"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['bmi', 'age']
    """
    max_features = positive_integer("max_features", max_features)
    if feature_names is None:
        feature_names = [str(i) for i in range(result.num_features)]
    if len(feature_names) < result.num_features:
        raise ValueError(
            "`feature_names` must have a name for each input feature. "
            f"Received: {len(feature_names)} names of {result.num_features} "
            "features"
        )
    frequencies = result.frequencies
    order = sorted(
        (i for i in range(result.num_features) if frequencies[i] > 0),
        key=lambda i: -frequencies[i],
    )
    shown = order[:max_features]
    ax = axes_for(ax, len(shown))
    for row, feature in enumerate(shown):
        stable = frequencies[feature] >= result.threshold
        ax.barh(
            row,
            frequencies[feature],
            height=0.6,
            color=COLOURS[0] if stable else GREY,
        )
    ax.axvline(result.threshold, color="black", linewidth=0.8, linestyle="--")
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("fraction of the halves that select it")
    name_rows(ax, [str(feature_names[i]) for i in shown], len(order))
    return ax
