"""The package as it is installed."""

import json
import subprocess
import sys
from importlib import metadata

import keras
import pytest

import kreg


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_version_is_that_of_the_distribution():
    assert metadata.version("kreg") == kreg.__version__


def test_types_are_shipped():
    files = [str(file) for file in metadata.files("kreg")]
    editable = any("editable" in file for file in files)
    assert "kreg/py.typed" in files or editable


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="TensorFlow is the backend"
)
def test_import_without_tensorflow():
    loaded = run("import kreg, sys; print('tensorflow' in sys.modules)")
    assert loaded.strip() == "False"


@pytest.fixture(scope="module")
def loaded():
    """The modules that are there after Keras, and after kreg too."""
    code = """
import keras, json, sys
after_keras = list(sys.modules)
import kreg
print(json.dumps([after_keras, list(sys.modules)]))
"""
    return json.loads(run(code))


@pytest.mark.parametrize("module", ["sklearn", "matplotlib", "rich.table"])
def test_import_loads_nothing_optional(module, loaded):
    after_keras, after_kreg = loaded
    if module in after_keras:
        pytest.skip(f"Keras loads {module} itself")
    assert module not in after_kreg


def test_import_leaves_out_what_no_training_step_needs(loaded):
    _, after_kreg = loaded
    late = ("kreg.selection", "kreg.deployment", "kreg.surgery")
    assert not [name for name in after_kreg if name.startswith(late)]


def test_names_that_are_imported_late_are_names_of_kreg():
    code = """
import kreg
assert set(kreg.__all__) <= set(dir(kreg))
assert kreg.path is kreg.selection.path
assert kreg.export is kreg.deployment.export
assert kreg.attach is kreg.surgery.attach
assert not hasattr(kreg, "no_such_name")
print("done")
"""
    assert run(code).split()[-1] == "done"
