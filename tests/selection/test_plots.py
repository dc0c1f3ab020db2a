"""Plots show the figures of results that are made by hand."""

import dataclasses
import itertools
import sys

import numpy as np
import pytest
from selection.path_records import path, point

from kreg.selection import (
    CompareResult,
    CompareRow,
    StabilityResult,
    plot_coefficients,
    plot_entry,
    plot_sparsity,
    plot_stability,
    plot_validation,
)
from kreg.selection.plots.axes import _spread

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

PATH = path(
    point(0.4, (), loss=3.0, sparsity=1.0),
    point(0.2, (2,), loss=1.0, sparsity=0.7),
    point(0.1, (0, 2), loss=2.0, sparsity=0.3),
    weights=(
        (np.array([[0.0], [0.0], [0.0]]),),
        (np.array([[0.0], [0.0], [1.0]]),),
        (np.array([[-0.5], [0.0], [2.0]]),),
    ),
)


def row(penalty, strength, mean, error, sparsity):
    return CompareRow(
        penalty=penalty,
        strength=strength,
        mean=mean,
        standard_error=error,
        scores=(mean,),
        train_mean=mean,
        sparsity=sparsity,
        nonzeros=1.0,
        dead_units=0.0,
        epochs=1.0,
        seconds=0.1,
    )


COMPARED = CompareResult(
    rows=(
        row("none", 0.0, 2.0, 0.2, 0.0),
        row("L1", 0.4, 3.0, 0.3, 0.9),
        row("L1", 0.1, 1.0, 0.1, 0.5),
    ),
    penalties={"L1": "L1", "none": "none"},
    monitor="data_loss",
    select="best",
    folds=3,
    seeds=(0,),
    choices={"none": 0, "L1": 2},
    chosen_penalty="L1",
    comparisons=(),
    verdict="",
)


@pytest.fixture(autouse=True)
def _close():
    yield
    pyplot.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def verticals(ax):
    """Where lines from the bottom to the top stand."""
    return [
        line.get_xdata()[0]
        for line in ax.lines
        if list(line.get_ydata()) == [0, 1]
    ]


def test_validation_of_a_path_is_drawn_by_rising_strength():
    ax = plot_validation(PATH)
    line = ax.lines[0]
    assert list(line.get_xdata()) == [0.1, 0.2, 0.4]
    assert list(line.get_ydata()) == [2.0, 1.0, 3.0]
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "validation data loss"
    assert verticals(ax) == [0.2]
    assert texts(ax) == ["0.2", "L1"]


def test_validation_of_a_comparison_has_a_bar_of_one_standard_error():
    ax = plot_validation(COMPARED)
    (bars,) = [bars for bars in ax.collections if len(bars.get_paths()) == 2]
    ends = [path.vertices[:, 1] for path in bars.get_paths()]
    np.testing.assert_allclose(ends, [[0.9, 1.1], [2.7, 3.3]])


def test_no_penalty_is_a_horizontal_line():
    ax = plot_validation(COMPARED)
    flat = [x for x in ax.lines if list(x.get_xdata()) == [0, 1]]
    assert [line.get_ydata()[0] for line in flat] == [2.0]
    assert {"none", "L1"} <= set(texts(ax))


def test_every_penalty_has_a_colour_of_its_own():
    ax = plot_validation(COMPARED)
    colours = {t.get_text(): t.get_color() for t in ax.texts}
    assert colours["none"] != colours["L1"]


def test_a_strength_of_zero_is_drawn_left_of_the_others():
    ax = plot_validation(path(*PATH.points, point(0.0, loss=4.0)))
    drawn = next(x for x in ax.lines if len(x.get_xdata()) == 4)
    assert 0.0 < drawn.get_xdata()[0] < 0.1
    assert "0" in texts(ax)


@pytest.mark.parametrize(
    "plot", [plot_validation, plot_entry, plot_coefficients]
)
def test_a_chosen_strength_of_zero_is_marked(plot):
    weights = tuple((np.full((3, 1), w),) for w in (0.0, 0.5, 1.0))
    points = [
        point(0.2, (), loss=3.0),
        point(0.1, (2,), loss=2.0),
        point(0.0, (0, 2), loss=1.0),
    ]
    ax = plot(path(*points, weights=weights))
    drawn = [line for line in ax.lines if len(line.get_xdata()) == 3]
    dashed = [
        line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"
    ]
    assert dashed == [drawn[0].get_xdata()[0]]
    assert 0.0 < dashed[0] < 0.1


def test_zero_of_several_penalties_is_one_place():
    rows = [
        row(name, strength, 1.0 + strength, 0.1, 0.0)
        for name, strengths in (("L1", (0.0, 0.1)), ("L2", (0.0, 0.1, 10.0)))
        for strength in strengths
    ]
    result = dataclasses.replace(
        COMPARED,
        rows=tuple(rows),
        penalties={"L1": "L1", "L2": "L2"},
        choices={"L1": 0, "L2": 2},
    )
    ax = plot_validation(result)
    assert texts(ax).count("0") == 2  # the tick, and the mark above
    assert len([x for x in ax.lines if x.get_linestyle() == ":"]) == 1


def overlapping(labels):
    """Pairs of labels that touch."""
    boxes = sorted(
        (label.get_window_extent() for label in labels), key=lambda box: box.y0
    )
    return [
        (low, high)
        for low, high in itertools.pairwise(boxes)
        if high.y0 < low.y1 - 1.0
    ]


@pytest.mark.parametrize("given", [False, True])
def test_the_names_of_many_rows_do_not_touch(given):
    ax = Figure(figsize=(5.0, 3.5)).subplots() if given else None
    names = [f"a feature with a long name {i}" for i in range(60)]
    features = tuple(range(60))
    points = [point(0.2, features[:30]), point(0.1, features)]
    drawn = [
        plot_entry(path(*points), names, ax, max_features=60),
        plot_stability(
            StabilityResult((features,), 60, 60, 0.75),
            names,
            None if ax is None else Figure(figsize=(5.0, 3.5)).subplots(),
            max_features=60,
        ),
    ]
    for axes in drawn:
        axes.figure.canvas.draw()
        labels = axes.get_yticklabels()
        assert len(labels) == 60
        assert overlapping(labels) == []


def test_a_single_point_is_visible():
    weights = ((np.array([[1.0], [0.0], [-1.0]]),),)
    one = path(point(0.1, (0, 2)), weights=weights)
    for ax in (plot_entry(one), plot_coefficients(one), plot_validation(one)):
        points = [x for x in ax.lines if len(x.get_xdata()) == 1]
        assert points
        assert all(x.get_marker() not in ("", "None", "|") for x in points)


def test_what_is_chosen_lies_above_its_curve():
    ax = plot_sparsity(PATH)
    (mark,) = [x for x in ax.lines if x.get_markersize() == 8]
    others = [x for x in ax.lines if x is not mark]
    assert mark.get_zorder() > max(x.get_zorder() for x in others)


def heights(ax):
    return {text.get_text(): text.get_position()[1] for text in ax.texts}


def test_labels_of_points_stay_where_nothing_is_near():
    one = heights(plot_sparsity(COMPARED))
    rows = (row("none", 0.0, 1.0, 0.2, 0.0), *COMPARED.rows[1:])
    other = heights(plot_sparsity(dataclasses.replace(COMPARED, rows=rows)))
    assert one["none"] > one["L1"]
    assert other["none"] == pytest.approx(other["L1"])


def test_labels_of_points_in_one_place_are_apart():
    rows = [row(name, 0.1, 1.0, 0.1, 0.5) for name in ("a", "b")]
    result = dataclasses.replace(
        COMPARED,
        rows=tuple(rows),
        penalties={"a": "L1", "b": "L1"},
        choices={"a": 0, "b": 1},
        chosen_penalty="b",
    )
    found = heights(plot_sparsity(result))
    assert abs(found["a"] - found["b"]) > 0.05


def test_sparsity_marks_what_is_chosen():
    ax = plot_sparsity(COMPARED)
    single = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if len(line.get_xdata()) == 1 and line.get_markersize() == 8
    ]
    assert single == [(0.0, 2.0), (0.5, 1.0)]


def test_entry_has_a_bar_where_a_feature_is_read():
    ax = plot_entry(PATH, ["age", "sex", "bmi"])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["bmi", "age"]
    bars = [x.get_ydata() for x in ax.lines if len(x.get_xdata()) == 3]
    np.testing.assert_array_equal(bars[0], [0, 0, np.nan])
    np.testing.assert_array_equal(bars[1], [1, np.nan, np.nan])


def test_entry_of_a_path_without_validation():
    points = [point(0.2, (0,)), point(0.1, (0, 1))]
    for p in points:
        p.validation.clear()
    assert verticals(plot_entry(path(*points))) == []


def test_entry_says_how_many_it_leaves_out():
    ax = plot_entry(PATH, max_features=1)
    assert ax.get_ylabel() == "the first 1 of 2 features"


def test_coefficients_have_a_line_for_each_feature():
    ax = plot_coefficients(PATH, ["age", "sex", "bmi"])
    lines = {tuple(x.get_ydata()) for x in ax.lines if len(x.get_xdata()) == 3}
    assert lines == {(-0.5, 0.0, 0.0), (0.0, 0.0, 0.0), (2.0, 1.0, 0.0)}
    assert {"age", "sex", "bmi"} <= set(texts(ax))


def test_wide_kernels_are_drawn_as_norms():
    weights = ((np.array([[3.0, 4.0], [0.0, 1.0]]),),)
    ax = plot_coefficients(path(point(0.1), weights=weights))
    heights = {x.get_ydata()[0] for x in ax.lines if len(x.get_xdata()) == 1}
    assert heights == {5.0, 1.0}
    assert ax.get_ylabel() == "norm of outgoing weights"


def test_stability_shows_the_threshold():
    result = StabilityResult(((0, 2), (2,)), 3, 2, 0.75)
    ax = plot_stability(result)
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.5]
    assert verticals(ax) == [0.75]


PLOTS = {
    "validation": lambda ax: plot_validation(COMPARED, ax),
    "sparsity": lambda ax: plot_sparsity(COMPARED, ax),
    "entry": lambda ax: plot_entry(PATH, ax=ax),
    "coefficients": lambda ax: plot_coefficients(PATH, ax=ax),
    "stability": lambda ax: plot_stability(
        StabilityResult(((0,), (2,)), 3, 2, 0.75), ax=ax
    ),
}


@pytest.mark.parametrize("name", PLOTS)
def test_plots_go_into_given_axes_without_pyplot(name, tmp_path):
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    assert PLOTS[name](ax) is ax
    assert pyplot.get_fignums() == []
    figure.savefig(tmp_path / "plot.png")


@pytest.mark.parametrize("name", PLOTS)
def test_something_else_than_axes(name):
    with pytest.raises(TypeError, match="Received: ax=3 \\(of type int\\)"):
        PLOTS[name](3)


def test_the_extra_is_named_where_matplotlib_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ImportError, match="pip install 'kreg\\[plot\\]'"):
        plot_validation(PATH)


@pytest.mark.parametrize("plot", [plot_validation, plot_sparsity])
def test_what_is_no_result(plot):
    with pytest.raises(TypeError, match="Received: result of type dict"):
        plot({})


@pytest.mark.parametrize("weight", [-1, 1])
def test_a_weight_that_is_not_there(weight):
    with pytest.raises(ValueError, match=f"weight={weight}, of the shapes"):
        plot_coefficients(PATH, weight=weight)


def test_coefficients_need_weights():
    with pytest.raises(ValueError, match="weights=None"):
        plot_coefficients(path(point(0.1)))


def test_labels_are_kept_apart_in_their_order():
    heights = [0.5, 0.51, 0.49, 0.1]
    moved = _spread(heights)
    assert np.argsort(moved).tolist() == np.argsort(heights).tolist()
    assert np.diff(np.sort(moved)).min() >= 0.055 - 1e-9
    assert moved[3] == pytest.approx(0.1)
