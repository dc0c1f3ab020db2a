"""The files of the page, and what the package needs and brings."""

import configparser
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from tensorboard_tab.servers import client

import kreg_tensorboard

PACKAGE = Path(kreg_tensorboard.__file__).parent
FILES = sorted((PACKAGE / "page").iterdir())
MODULES = [file for file in FILES if file.suffix == ".js"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_file_is_served(tmp_path, file):
    answer = client(tmp_path).get(f"/data/plugin/kreg/{file.name}")
    assert answer.status_code == 200
    assert answer.get_data() == file.read_bytes()
    kind = {".js": "text/javascript", ".css": "text/css"}[file.suffix]
    assert answer.mimetype == kind


def test_every_module_that_is_imported_is_there():
    names = {file.name for file in MODULES}
    text = "".join(file.read_text() for file in MODULES)
    imported = re.findall(r'from "\./([^"]+)"', text)
    assert set(imported) == names - {"index.js"}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_nothing_is_inserted_as_markup(file):
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\("
    assert not re.search(markup, file.read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere(file):
    addresses = set(re.findall(r"https?://[^\s\"']+", file.read_text()))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_files_are_part_of_the_package():
    options = configparser.ConfigParser()
    options.read(Path(__file__).parents[2] / "setup.cfg")
    patterns = options["options.package_data"]["kreg_tensorboard"].split()
    packaged = {f for p in patterns for f in PACKAGE.glob(p)}
    assert packaged == set(FILES)


def test_tensorboard_finds_the_plugin():
    points = metadata.entry_points(group="tensorboard_plugins")
    assert points["kreg"].load() is kreg_tensorboard.KregPlugin


def test_neither_keras_nor_kreg_nor_tensorflow_is_imported():
    code = (
        "import sys, kreg_tensorboard._tab;"
        "print({'keras', 'kreg', 'tensorflow'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
