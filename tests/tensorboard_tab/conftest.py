"""The tab needs TensorBoard, and its page a browser."""

from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("tensorboard") is None:
    collect_ignore_glob = ["test_*.py"]

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"]
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A page that must not write an error to the browser's console."""
    opened = browser.new_page(viewport={"width": 1400, "height": 950})
    opened.set_default_timeout(30_000)
    errors = []

    def on_console(message):
        if message.type == "error" and "favicon" not in str(message.location):
            errors.append(message.text)

    opened.on("console", on_console)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    opened.close()
    assert errors == []


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """A TensorBoard with the logs of `page_logs`."""
    from tensorboard_tab.page_logs import write_logs
    from tensorboard_tab.servers import serve

    folder = tmp_path_factory.mktemp("logs")
    write_logs(folder)
    with serve(folder) as url:
        yield url


@pytest.fixture
def served(tmp_path):
    """A TensorBoard with the logs of one test; named before `page`, it lasts.

    The page asks for news until it is closed, which must not be refused.
    """
    from tensorboard_tab.servers import serve

    with serve(tmp_path) as url:
        yield url


@pytest.fixture
def tab(page, address):
    """The page of the tab, showing the run `strong/train`."""
    from tensorboard_tab.page_logs import PATHS
    from tensorboard_tab.page_reading import choose, lines
    from tensorboard_tab.servers import wait_until

    page.goto(f"{address}/data/plugin_entry.html?name=kreg")
    choose(page, "run", "strong/train")
    wait_until(lambda: lines(page, "sparsity") == PATHS)
    return page
