"""The folders of selection stand in one order, and a path goes down it."""

import ast
from pathlib import Path

import pytest

import kreg

SELECTION = Path(kreg.selection.__file__).parent
FOLDERS = [
    "data",
    "execution",
    "training",
    "strengths",
    "paths",
    "comparison",
    "features",
    "plots",
]
FILES = sorted(SELECTION.glob("*/*.py"))


def test_every_folder_has_its_place():
    folders = {file.parent.name for file in FILES}
    assert folders == set(FOLDERS)
    lines = kreg.selection.__doc__.splitlines()
    listed = [line.split("/")[0].strip() for line in lines if "/  " in line]
    assert listed == FOLDERS


@pytest.mark.parametrize(
    "file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}"
)
def test_a_folder_imports_only_from_those_above_it(file):
    place = FOLDERS.index(file.parent.name)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            parts = node.module.split(".")
            if parts[:2] == ["kreg", "selection"] and parts[2] in FOLDERS:
                assert FOLDERS.index(parts[2]) <= place, node.module
