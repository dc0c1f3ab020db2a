"""Which lines are shown, and how they are told apart."""

import pytest
from tensorboard_tab.page_logs import PATHS
from tensorboard_tab.page_reading import choose, lines
from tensorboard_tab.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]


def test_legend_hides_and_shows_lines(tab):
    entry = "[data-legend] [data-key='second/kernel']"
    tab.click(entry)
    assert tab.get_attribute(entry, "aria-pressed") == "false"
    assert lines(tab, "sparsity") == [PATHS[0], PATHS[2]]
    tab.click(entry, modifiers=["Shift"])
    assert lines(tab, "sparsity") == [PATHS[1]]
    tab.click("[data-control=all]")
    assert lines(tab, "sparsity") == PATHS


def test_legend_highlights_a_line(tab):
    tab.hover("[data-legend] [data-key='second/kernel']")
    strong = "[data-chart=sparsity] path.strong"
    assert tab.get_attribute(strong, "data-key") == "second/kernel"
    assert tab.locator("[data-chart=sparsity] path.faint").count() == 2


def test_only_weights_with_a_regularizer(tab):
    tab.click("[data-control=regularized]")
    assert lines(tab, "sparsity") == PATHS[:2]


def styles(page, chart):
    pairs = page.eval_on_selector_all(
        f"[data-chart={chart}] .lines path.line",
        "all => all.map(one => [one.dataset.key, getComputedStyle(one).stroke"
        " + getComputedStyle(one).strokeDasharray])",
    )
    return dict(pairs)


def test_many_weights_are_told_apart(tab):
    choose(tab, "run", "many/train")
    wait_until(lambda: len(lines(tab, "sparsity")) == 60)
    many = styles(tab, "sparsity")
    first_forty = [many[f"block_{i}/kernel"] for i in range(40)]
    assert len(set(first_forty)) == 40
    colours = {style.partition(")")[0] for style in first_forty[:10]}
    assert len(colours) == 10
    tab.fill("[data-control=filter]", "block_7/")
    tab.click("[data-control=none]")
    assert len(lines(tab, "sparsity")) == 59
    tab.click("[data-control=all]")
    choose(tab, "figure", "max_norm")
    lines(tab, "max_norm")
    assert styles(tab, "max_norm") == {"block_7/kernel": many["block_7/kernel"]}
