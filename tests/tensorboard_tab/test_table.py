"""The table of the latest reading, against the event files."""

import pytest
from tensorboard_tab.page_logs import HOSTILE, NOTHING, PATHS, STEPS, values_of
from tensorboard_tab.page_reading import (
    choose,
    lines,
    number,
    point_at,
    table_column,
)
from tensorboard_tab.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]


def test_table_shows_the_latest_reading(tab):
    last = values_of(STEPS[-1], 2.0)
    assert table_column(tab, "path") == PATHS
    assert table_column(tab, "shape") == ["64 \u00d7 128", "8 \u00d7 4", "4"]
    assert table_column(tab, "regularizer") == ["L1", "L1L2", NOTHING]
    found = [float(value) for value in table_column(tab, "sparsity")]
    assert found == [last[f"kreg_sparsity/{path}"] for path in PATHS]
    strengths = tab.eval_on_selector_all(
        "[data-table] .strength", "all => all.map(one => one.dataset.value)"
    )
    assert [float(value) for value in strengths] == [180 / 1024, 0.5, 0.25]
    total = "[data-table] tfoot td[data-column=sparsity]"
    assert number(tab, total) == last["kreg/sparsity"]


def test_table_is_sorted_by_its_headings(tab):
    heading = tab.locator("[data-table] th[data-column=sparsity]")
    assert heading.get_attribute("aria-sort") == "none"
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert table_column(tab, "path") == PATHS
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert table_column(tab, "path") == PATHS[::-1]
    tab.locator("[data-table] th[data-column=path] button").click()
    assert heading.get_attribute("aria-sort") == "none"
    assert table_column(tab, "path") == PATHS


def test_values_that_are_not_finite_are_last(tab):
    assert table_column(tab, "update_ratio") == ["NaN", "0.5", NOTHING]
    heading = "[data-table] th[data-column=update_ratio] button"
    for _ in range(2):
        tab.click(heading)
        assert table_column(tab, "path")[0] == "second/kernel"


def test_names_and_regularizers_are_never_markup(tab):
    choose(tab, "run", "hostile/train")
    wait_until(lambda: lines(tab, "sparsity") == [HOSTILE])
    assert tab.locator("img").count() == 0
    assert tab.locator("b").count() == 0
    assert table_column(tab, "regularizer") == ["<b>L1</b>"]
    name = tab.locator("[data-table] tbody td[data-column=path] span")
    assert name.text_content() == HOSTILE
    point_at(tab, "sparsity", 0.5)
    tab.wait_for_selector(".tooltip .name")
    assert tab.locator("img").count() == 0
