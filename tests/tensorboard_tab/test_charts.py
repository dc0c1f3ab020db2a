"""The charts of the page, against the event files that it shows."""

import re

import numpy as np
import pytest
from tensorboard_tab.page_logs import PATHS, STEPS, values_of
from tensorboard_tab.page_reading import (
    choose,
    legend_value,
    lines,
    number,
    point_at,
)
from tensorboard_tab.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]


def test_a_line_for_each_weight_with_its_latest_value(tab):
    assert lines(tab, "sparsity") == PATHS
    last = values_of(STEPS[-1], 2.0)
    for path in PATHS:
        assert legend_value(tab, path) == last[f"kreg_sparsity/{path}"]


def test_values_at_the_step_under_the_pointer(tab):
    point_at(tab, "sparsity", 5 / 9)
    tab.wait_for_selector("[data-chart=sparsity] .tooltip [data-step='50']")
    at_step = values_of(50, 2.0)
    for path in PATHS:
        expected = at_step[f"kreg_sparsity/{path}"]
        row = f"[data-chart=sparsity] .tooltip [data-key='{path}'] .value"
        assert number(tab, row) == expected
        assert legend_value(tab, path) == expected


def test_lines_are_drawn_where_their_values_are(tab):
    heights = {}
    for path in PATHS:
        drawn = tab.get_attribute(
            f"[data-chart=sparsity] path.line[data-key='{path}']", "d"
        )
        points = re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn)
        assert len(points) == len(STEPS)
        x, y = np.array(points, float).T
        assert np.ptp(np.diff(x)) < 0.3
        heights[path] = y[0] - y[-1]
    rise = [heights[path] / heights[PATHS[2]] for path in PATHS]
    assert rise == pytest.approx([3, 2, 1], abs=0.02)


def test_strengths_are_drawn_below_sparsity_on_the_same_axis(tab):
    keys = lines(tab, "strength")
    assert keys == ["first/kernel", "second/kernel", "second/kernel"]
    ends = {
        chart: tab.eval_on_selector(
            f"[data-chart={chart}] path.line",
            "path => [path.getPointAtLength(0).x, "
            "path.getPointAtLength(path.getTotalLength()).x]",
        )
        for chart in ("sparsity", "strength")
    }
    assert ends["sparsity"] == pytest.approx(ends["strength"], abs=0.2)
    point_at(tab, "strength", 1)
    rows = "[data-chart=strength] .tooltip tr"
    tab.wait_for_selector(rows)
    found = tab.eval_on_selector_all(
        rows,
        "all => all.map(row => [row.querySelector('.name').textContent, "
        "Number(row.querySelector('.value').dataset.value)])",
    )
    assert dict(found) == {
        "first/kernel": 2.0 * 90 / 1024,
        "second/kernel · l1": 0.5,
        "second/kernel · l2": 0.25,
    }


def test_values_that_are_not_finite_are_gaps(tab):
    choose(tab, "figure", "l2_norm")
    assert lines(tab, "l2_norm") == PATHS
    pieces = tab.eval_on_selector_all(
        "[data-chart=l2_norm] .lines path.line",
        "all => all.map(one => one.getAttribute('d').split('M').length - 1)",
    )
    assert pieces == [2, 1, 1]


def test_log_scale_leaves_out_what_is_not_above_0(tab):
    choose(tab, "figure", "l2_norm")
    lines(tab, "l2_norm")
    tab.click("[data-control=log]")
    tab.wait_for_selector("[data-control=log][aria-pressed=true]")
    note = tab.locator("[data-chart=l2_norm] .note")
    wait_until(lambda: "logarithmic" in note.text_content())
    zero = "[data-chart=l2_norm] path.line[data-key='third/kernel']"
    assert tab.get_attribute(zero, "d") == ""


def test_tooltip_stays_when_new_readings_are_drawn(tab):
    point_at(tab, "sparsity", 5 / 9)
    step = "[data-chart=sparsity] .tooltip [data-step='50']"
    tab.wait_for_selector(step)
    tab.focus("[data-control=log]")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("[data-control=log][aria-pressed=true]")
    assert tab.locator(step).is_visible()


def test_chart_is_read_with_the_keyboard(tab):
    tab.focus("[data-chart=sparsity] svg.plot")
    tab.keyboard.press("Home")
    tab.keyboard.press("ArrowRight")
    step = tab.wait_for_selector("[data-chart=sparsity] .tooltip .step")
    assert step.get_attribute("data-step") == "10"
    tab.keyboard.press("End")
    step = tab.wait_for_selector("[data-chart=sparsity] .tooltip .step")
    assert step.get_attribute("data-step") == "90"
    tab.keyboard.press("Escape")
    assert tab.locator("[data-chart=sparsity] .tooltip").is_hidden()


def test_zoom(tab):
    point_at(tab, "sparsity", 0.0)
    tab.mouse.down()
    point_at(tab, "sparsity", 0.5)
    tab.mouse.up()
    tab.wait_for_selector("[data-control=reset-zoom]")
    point_at(tab, "sparsity", 0.999)
    tab.wait_for_selector("[data-chart=sparsity] .tooltip [data-step='40']")
    tab.click("[data-control=reset-zoom]")
    point_at(tab, "sparsity", 0.999)
    tab.wait_for_selector("[data-chart=sparsity] .tooltip [data-step='90']")
