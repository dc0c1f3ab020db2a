"""TensorBoard starts, whatever has happened to the tab."""

import json
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest
from tensorboard_tab.event_logs import EventLog, weight
from tensorboard_tab.servers import serve

import kreg_tensorboard
from kreg_tensorboard import KregPlugin

PACKAGE = Path(kreg_tensorboard.__file__).parent


def plugins_of(tmp_path, python_path):
    log = EventLog(tmp_path / "logs", "first/train")
    log.mark([weight("dense/kernel")])
    log.scalars(0, {"kreg/sparsity": 0.5})
    log.close()
    with serve(tmp_path / "logs", python_path) as address:
        url = f"{address}/data/plugins_listing"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("_tab.py", "import a_module_that_is_missing"),
        ("_logs.py", "raise RuntimeError('broken')"),
    ],
)
def test_tensorboard_starts_if_the_tab_is_damaged(tmp_path, module, text):
    package = tmp_path / "path" / "kreg_tensorboard"
    shutil.copytree(PACKAGE, package)
    (package / module).write_text(text)
    plugins = plugins_of(tmp_path, package.parent)
    assert "kreg" not in plugins
    assert plugins["scalars"]["enabled"] is True


@pytest.mark.slow
@pytest.mark.tensorflow
def test_tensorboard_shows_the_tab_if_it_is_whole(tmp_path):
    package = tmp_path / "path" / "kreg_tensorboard"
    shutil.copytree(PACKAGE, package)
    plugins = plugins_of(tmp_path, package.parent)
    assert plugins["kreg"]["enabled"] is True
    assert plugins["scalars"]["enabled"] is True


class Context:
    data_provider = object()


def load_quietly(caplog):
    tab = KregPlugin().load(Context())
    assert "kreg's tab is left out" in caplog.text
    return tab


def test_tab_without_its_module_is_left_out(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "kreg_tensorboard._tab", None)
    assert load_quietly(caplog) is None


def test_tab_without_its_page_is_left_out(monkeypatch, caplog, tmp_path):
    from kreg_tensorboard import _tab

    monkeypatch.setattr(_tab, "PAGE", tmp_path / "missing")
    assert load_quietly(caplog) is None
    monkeypatch.setattr(_tab, "PAGE", tmp_path)
    assert load_quietly(caplog) is None


def test_tab_without_a_data_provider_is_left_out(monkeypatch, caplog):
    monkeypatch.setattr(Context, "data_provider", None)
    assert load_quietly(caplog) is None
