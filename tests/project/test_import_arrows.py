"""A folder imports only from those above it."""

import ast
from pathlib import Path

import pytest

import kreg

PACKAGE = Path(kreg.__file__).parent
LAYERS = [
    "schedules",
    "regularizers",
    "binding",
    "optimizers",
    "statistics",
    "callbacks",
    "surgery",
    "deployment",
    "selection",
    "cli",
]
FILES = sorted(PACKAGE.glob("*/**/*.py"))


def imported_modules(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            yield node.module


@pytest.mark.parametrize(
    "file", FILES, ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_arrows_point_one_way(file):
    layer = LAYERS.index(file.relative_to(PACKAGE).parts[0])
    for module in imported_modules(file):
        parts = module.split(".")
        if parts[0] != "kreg" or len(parts) == 1:
            # `import kreg`, the public names, is for the command alone.
            assert module != "kreg" or LAYERS[layer] == "cli", file
            continue
        assert parts[1].startswith("_") or LAYERS.index(parts[1]) <= layer, (
            f"{file} imports {module}, which lies below it"
        )


@pytest.mark.parametrize("name", ["utils", "helpers", "misc", "common"])
def test_no_file_has_a_name_that_says_nothing(name):
    assert not [f for f in FILES if f.stem.strip("_") in (name, name[:-1])]


def test_only_one_file_reaches_below_keras_public_names():
    reaching = [
        file.name
        for file in PACKAGE.rglob("*.py")
        if any(m.startswith("keras.src") for m in imported_modules(file))
    ]
    assert reaching == ["_keras_private.py"]
