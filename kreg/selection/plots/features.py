"""Plots of input features: coefficients, entry strengths, stability."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg._arguments import (
    instance_of,
    integer,
    optional,
    positive_integer,
)
from kreg.selection.features.entry_order import checked_names, entry_order
from kreg.selection.features.stability_result import StabilityResult
from kreg.selection.paths.result import PathResult
from kreg.selection.plots.axes import (
    COLOURS,
    GREY,
    Axes,
    axes_for,
    label_ends,
    mark_chosen,
    name_rows,
    strength_axis,
)


def plot_coefficients(
    result: PathResult,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    weight: int = 0,
    max_labels: int = 7,
) -> Axes:
    """Plot a weight along a path, a line for each input feature.

    If the kernel has one output, as in a linear model, the lines are its
    coefficients. Otherwise they are the L2 norms of the weights that leave each
    input. The largest lines are labeled at the smallest strength. The dashed
    line is the best point of the path, if it has validation figures.

    Args:
        result: a `PathResult` with `weights`.
        feature_names: a str for each input feature. Defaults to `None`:
            features are named by their indices.
        ax: matplotlib's axes to draw into. Defaults to `None`: new ones.
        weight: int >= 0, the index of the kernel in `model.get_weights()`.
            Defaults to `0`.
        max_labels: int >= 1, the maximum number of lines with a colour and a
            name. Defaults to `7`.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if an argument is of the wrong type.
        ValueError: if the path has no such weight, or there are fewer names
            than features.

    Example:

    >>> import kreg, matplotlib, numpy as np
    >>> matplotlib.use("agg")
    >>> points = [kreg.selection.PathPoint(strength, None, 0.5, 1, 0, 0, None,
    ...     {}, {}, 1, 1, None, 0.1, True) for strength in [0.1, 0.2]]
    >>> weights = ((np.array([[0.5], [-1.0]]),), (np.array([[0.0], [-0.5]]),))
    >>> path = kreg.selection.PathResult(tuple(points), "L1", weights=weights)
    >>> kreg.selection.plot_coefficients(path).get_ylabel()
    'coefficient'
    """
    instance_of("result", result, PathResult, "a `PathResult`")
    feature_names = optional(checked_names, "feature_names", feature_names)
    weight = integer("weight", weight)
    max_labels = positive_integer("max_labels", max_labels)
    order = sorted(
        range(len(result.points)), key=lambda i: result.points[i].strength
    )
    lines, is_signed = _lines(result, weight, order)
    if feature_names is not None and len(feature_names) < len(lines):
        raise ValueError(
            "`feature_names` must have a name for each input feature. "
            f"Received: {len(feature_names)} names of {len(lines)} features"
        )
    ax = axes_for(ax)
    places = strength_axis(ax, [result.points[i].strength for i in order])
    by_size = np.argsort(-np.abs(lines[:, 0]), kind="stable")
    named = {int(j): k for k, j in enumerate(by_size[:max_labels])}
    labels = []
    for j, line in reversed(list(enumerate(lines))):
        colour = COLOURS[named[j] % len(COLOURS)] if j in named else GREY
        ax.plot(
            places,
            line,
            color=colour,
            linewidth=1.5 if j in named else 0.7,
            marker="o" if len(places) == 1 else None,
        )
        if j in named:
            name = str(j) if feature_names is None else str(feature_names[j])
            labels.append((float(line[0]), name, colour))
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_ylabel("coefficient" if is_signed else "norm of outgoing weights")
    if any(result.monitor in point.validation for point in result.points):
        best = result.best()
        place = next(k for k, i in enumerate(order) if result.points[i] is best)
        mark_chosen(ax, places[place], best.strength)
    # The lines end at the left, next to their labels.
    ax.spines["left"].set_visible(False)
    ax.spines["right"].set_visible(True)
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    if len(places) > 1:
        ax.margins(x=0.0)
    label_ends(ax, labels, at_left=True)
    return ax


def _lines(
    result: PathResult, weight: int, order: Sequence[int]
) -> tuple[NDArray[Any], bool]:
    """A row for each input with a column for each point, and whether signed.

    Signed rows are coefficients; others are norms.
    """
    if result.weights is None:
        raise ValueError(
            "`result` must hold the weights of its points. "
            "Received: result with weights=None"
        )
    points = [result.weights[i] for i in order]
    arrays = [w[weight] for w in points if 0 <= weight < len(w)]
    if len(arrays) < len(points) or arrays[0].ndim != 2:
        shapes = [array.shape for array in points[0]]
        raise ValueError(
            "`weight` must be the index of a kernel with two axes among the "
            f"weights. Received: weight={weight}, of the shapes {shapes}"
        )
    kernels = np.stack(arrays)
    if kernels.shape[2] == 1:
        return kernels[:, :, 0].T, True
    return np.linalg.norm(kernels, axis=2).T, False


def plot_entry(
    result: PathResult,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    max_features: int = 30,
) -> Axes:
    """Plot the strengths at which the model reads each input feature.

    Each feature has a row; the feature that enters at the largest strength is
    on top. A bar covers the strengths at which the feature is read. The dashed
    line is the best point of the path, if it has validation figures; features
    that are read there are blue, others grey.

    Args:
        result: a `PathResult` of a model with a single flat input.
        feature_names: a str for each input feature. Defaults to `None`:
            features are named by their indices.
        ax: matplotlib's axes to draw into. Defaults to `None`: new ones.
        max_features: int >= 1, the maximum number of features shown. Defaults
            to `30`.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if an argument is of the wrong type.
        ValueError: if the model of the path does not have a single flat input
            that dense layers read, or there are fewer names than features.

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
            [row if is_read else float("nan") for is_read in read],
            color=COLOURS[0] if entry.feature in chosen else GREY,
            linewidth=4,
            solid_capstyle="butt",
            # The marker makes a feature visible that is read at one strength.
            marker="s",
            markersize=4,
            markeredgewidth=0,
        )
    name_rows(ax, [entry.name for entry in shown], len(entries))
    if best is not None:
        mark_chosen(ax, places[points.index(best)], best.strength)
    return ax


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
        feature_names: a str for each input feature. Defaults to `None`:
            features are named by their indices.
        ax: matplotlib's axes to draw into. Defaults to `None`: new ones.
        max_features: int >= 1, the maximum number of features shown. Defaults
            to `30`.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if an argument is of the wrong type.
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
    instance_of("result", result, StabilityResult, "a `StabilityResult`")
    feature_names = optional(checked_names, "feature_names", feature_names)
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
