"""The page within TensorBoard, and during a fit."""

import pytest
from tensorboard_tab.event_logs import EventLog, weight
from tensorboard_tab.page_reading import legend_value, lines
from tensorboard_tab.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]


def test_tab_opens_in_tensorboard(page, address):
    page.goto(address)
    page.get_by_role("tab", name="kreg").click()
    tab = page.frame_locator("iframe[src*='name=kreg']")
    tab.locator("[data-table] tbody tr").first.wait_for()


def test_dark_mode_is_that_of_tensorboard(page, address):
    page.emulate_media(color_scheme="light")
    page.goto(f"{address}/#kreg")
    tab = page.frame_locator("iframe[src*='name=kreg']")
    tab.locator("html[data-theme=light]").wait_for()
    page.evaluate("document.body.classList.add('dark-mode')")
    tab.locator("html[data-theme=dark]").wait_for()


def test_dark_mode_by_itself_is_that_of_the_browser(tab):
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_selector("html[data-theme=dark]")
    tab.emulate_media(color_scheme="light")
    tab.wait_for_selector("html[data-theme=light]")


def test_a_running_fit_is_followed_and_the_selection_kept(
    served, page, tmp_path
):
    log = EventLog(tmp_path, "now/train")
    log.mark([weight("first/kernel"), weight("second/kernel")])
    log.scalars(0, {"kreg_sparsity/first/kernel": 0.25})
    page.goto(f"{served}/data/plugin_entry.html?name=kreg")
    assert lines(page, "sparsity") == ["first/kernel"]
    page.click("[data-control=log]")
    page.click("[data-legend] [data-key='first/kernel']")
    log.scalars(
        1,
        {
            "kreg_sparsity/first/kernel": 0.5,
            "kreg_sparsity/second/kernel": 0.75,
        },
    )
    wait_until(lambda: lines(page, "sparsity") == ["second/kernel"])
    assert legend_value(page, "first/kernel") == 0.5
    assert page.locator("[data-control=log][aria-pressed=true]").count()
    assert page.get_attribute("[data-status]", "data-step") == "1"
    log.close()


def test_polling_stops_while_another_tab_is_open(page, address):
    asked = []
    page.on(
        "request",
        lambda request: (
            asked.append(request)
            if request.url.endswith("/plugin/kreg/runs?")
            else None
        ),
    )
    page.goto(f"{address}/#kreg")
    wait_until(lambda: page.wait_for_timeout(200) or len(asked) >= 2)
    page.get_by_role("tab", name="Scalars").click()
    page.wait_for_timeout(1000)
    before = len(asked)
    page.wait_for_timeout(9000)
    assert len(asked) == before
    page.get_by_role("tab", name="kreg").click()
    wait_until(lambda: page.wait_for_timeout(200) or len(asked) > before)
