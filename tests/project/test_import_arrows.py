"""Who may import whom: the layers, private modules, and no circles."""

from graphlib import CycleError, TopologicalSorter

import pytest
from project.house import ROOT, imports_of, modules_of

LAYERS = [
    "_keras_private",
    "files",
    "results",
    "schedules",
    "regularizers",
    "layers",
    "binding",
    "optimizers",
    "statistics",
    "callbacks",
    "surgery",
    "deployment",
    "selection",
    "cli",
]


MODULES = modules_of(ROOT / "kreg")
IMPORTS = imports_of(MODULES)


def folder(name):
    is_package = MODULES[name].name == "__init__.py"
    return name if is_package else name.rpartition(".")[0]


@pytest.mark.parametrize("name", [n for n in MODULES if n.count(".") > 1])
def test_arrows_point_one_way(name):
    layer = LAYERS.index(name.split(".")[1])
    for module in IMPORTS[name]:
        parts = module.split(".")
        if parts[0] != "kreg":
            continue
        # `import kreg`, the public names, is for the command alone.
        assert len(parts) > 1 or LAYERS[layer] == "cli", module
        if len(parts) > 1 and parts[1] in LAYERS:
            assert LAYERS.index(parts[1]) <= layer, (
                f"{name} imports {module}, which lies below it"
            )


def test_private_modules_are_imported_inside_their_folder_alone():
    strangers = [
        f"{name} imports {module}"
        for name, modules in IMPORTS.items()
        for module in modules
        if module.startswith("kreg.")
        for depth, part in enumerate(module.split("."))
        if part.startswith("_")
        and folder(name).split(".")[:depth] != module.split(".")[:depth]
    ]
    assert not strangers


def test_files_import_each_other_in_no_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", ["utils", "helpers", "misc", "common"])
def test_no_file_has_a_name_that_says_nothing(name):
    assert not [
        module
        for module in MODULES
        if module.split(".")[-1].strip("_") in (name, name[:-1])
    ]


def test_only_one_folder_reaches_below_keras_public_names():
    reaching = [
        name
        for name, modules in IMPORTS.items()
        if any(module.startswith("keras.src") for module in modules)
    ]
    folder = "kreg._keras_private"
    assert [
        name for name in reaching if f"{name}.".startswith(f"{folder}.")
    ] == reaching
