"""Layers, the whole model, and runs compared."""

import pytest
from tensorboard_tab.page_logs import PATHS, RUNS, STEPS, values_of
from tensorboard_tab.page_reading import (
    choose,
    legend_value,
    lines,
    point_at,
    table_column,
)
from tensorboard_tab.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]


def test_layers(tab):
    tab.click("[data-view=layers]")
    wait_until(lambda: lines(tab, "sparsity") == ["first"])
    assert legend_value(tab, "first") == 0.5


def test_model_shows_data_loss_and_penalty_on_one_chart(tab):
    tab.click("[data-view=model]")
    assert lines(tab, "data_loss") == ["data_loss", "penalty"]
    last = values_of(STEPS[-1], 2.0)
    for figure in ("data_loss", "penalty"):
        assert legend_value(tab, figure) == last[f"kreg/{figure}"]


def test_a_step_lies_at_one_place_in_all_charts(tab):
    tab.click("[data-view=model]")
    lines(tab, "data_loss")
    point_at(tab, "sparsity", 4 / 9)
    tab.wait_for_selector("[data-chart=sparsity] .tooltip [data-step='40']")
    crosshairs = tab.eval_on_selector_all(
        ".cursor line", "all => all.map(one => one.getAttribute('x1'))"
    )
    assert len(crosshairs) == 3
    assert len(set(crosshairs)) == 1


def test_runs_are_compared_by_a_figure_of_the_model(tab):
    tab.click("[data-view=compare]")
    wait_until(lambda: lines(tab, "sparsity") == list(RUNS))
    for run, factor in RUNS.items():
        expected = values_of(STEPS[-1], factor)["kreg/sparsity"]
        assert legend_value(tab, run) == expected
    choose(tab, "figure", "penalty")
    assert lines(tab, "penalty") == list(RUNS)
    assert legend_value(tab, "weak/train") == 0.5
    names = table_column(tab, "path")
    assert names == ["hostile/train", "many/train", *RUNS]


def test_runs_are_compared_by_one_weight(tab):
    tab.click("[data-view=compare]")
    choose(tab, "subject", "second/kernel")
    last = {run: values_of(STEPS[-1], factor) for run, factor in RUNS.items()}
    tab.wait_for_selector("[data-chart=strength] path.line", state="attached")
    wait_until(lambda: lines(tab, "sparsity") == list(RUNS))
    for run, values in last.items():
        assert legend_value(tab, run) == values["kreg_sparsity/second/kernel"]


def test_a_view_without_figures_is_not_offered(tab):
    assert tab.locator("[data-view=layers]").is_visible()
    choose(tab, "run", "many/train")
    wait_until(lambda: len(lines(tab, "sparsity")) == 60)
    assert tab.locator("[data-view=layers]").is_hidden()
    assert tab.locator("[data-view=model]").is_hidden()


def test_selection_outlives_a_reload_of_the_page(tab):
    choose(tab, "figure", "l2_norm")
    lines(tab, "l2_norm")
    tab.reload()
    assert lines(tab, "l2_norm") == PATHS


def test_narrow_window(tab):
    tab.set_viewport_size({"width": 360, "height": 800})
    tab.wait_for_timeout(300)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
