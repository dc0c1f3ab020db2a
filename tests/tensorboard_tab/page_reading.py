"""What a page shows, read through its `data-` attributes."""


def choose(page, control, value):
    page.wait_for_selector(f"[data-control={control}] option", state="attached")
    page.select_option(f"[data-control={control}]", value)


def lines(page, chart):
    """The keys of the lines of a chart, once it is drawn."""
    drawn = f"[data-chart={chart}] .lines path.line"
    page.wait_for_selector(drawn, state="attached")
    return page.eval_on_selector_all(
        drawn,
        "all => all.map(one => one.dataset.key)",
    )


def number(page, selector):
    return float(page.get_attribute(selector, "data-value"))


def legend_value(page, key):
    return number(page, f"[data-legend] [data-key='{key}'] .value")


def table_column(page, column):
    return page.eval_on_selector_all(
        f"[data-table] tbody td[data-column={column}]",
        "all => all.map(one => one.dataset.value ?? one.textContent)",
    )


def point_at(page, chart, fraction):
    """Move the pointer over a chart, to a fraction of its x-axis."""
    box = page.locator(f"[data-chart={chart}] svg.plot").bounding_box()
    axis = page.eval_on_selector(
        f"[data-chart={chart}] .grid",
        "line => [line.getBoundingClientRect().left,"
        " line.getBoundingClientRect().width]",
    )
    page.mouse.move(axis[0] + fraction * axis[1], box["y"] + 60)
