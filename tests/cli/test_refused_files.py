"""Untrusted files: one line says what is wrong, and no code is run."""

import json
import os
import re
import sys
import zipfile

import keras
import numpy as np
import pytest
from cli.saved_files import (
    COMMANDS,
    files_in,
    help_of,
    network,
    run,
    trained,
)

RNG = np.random.default_rng(0)


class Foreign(keras.layers.Dense):
    """A class that is not registered."""


def sequential(*layers):
    return keras.Sequential([keras.Input((3,)), *layers])


def model_file(path, **members):
    """A good file with members of its archive replaced or removed."""
    network().save(path)
    with zipfile.ZipFile(path) as archive:
        good = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**good, **members}.items():
            if content is not None:
                archive.writestr(name, content)


def truncated(path):
    network().save(path)
    path.write_bytes(path.read_bytes()[:5000])


def other_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")


def unbuilt(path):
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([keras.layers.Dense(2)]).save(path)


def with_config(config):
    return lambda path: model_file(path, **{"config.json": config})


def with_weights(weights):
    return lambda path: model_file(path, **{"model.weights.h5": weights})


LAYER = json.dumps(
    {
        "module": "keras.layers",
        "class_name": "Dropout",
        "config": {"rate": 0.5},
        "registered_name": None,
    }
)
FUNCTION = json.dumps(
    {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "system",
    }
)
FAULTS = {
    "missing": ("a.keras", lambda path: None, "no such file"),
    "directory": ("a.keras", lambda path: path.mkdir(), "is a directory"),
    "h5": ("a.h5", lambda path: path.touch(), r"load_model\('.*a\.h5'\)\.save"),
    "suffix": ("a.zip", lambda path: path.touch(), "only .keras files"),
    "pipe": ("a.keras", os.mkfifo, "only .keras files"),
    "empty": ("a.keras", lambda path: path.touch(), "not a whole one"),
    "text": ("a.keras", lambda path: path.write_text("x"), "no zip archive"),
    "truncated": ("a.keras", truncated, "not a whole one"),
    "archive": ("a.keras", other_archive, "has no config.json"),
    "config": ("a.keras", with_config(b"{"), "cannot be loaded: "),
    "list": ("a.keras", with_config(b"[]"), "cannot be loaded: |not a model"),
    "layer": ("a.keras", with_config(LAYER), "cannot be loaded: |not a model"),
    "function": ("a.keras", with_config(FUNCTION), "it needs system"),
    "weights": ("a.keras", with_weights(b"\0" * 999), "cannot be loaded: "),
    "no weights": ("a.keras", with_weights(None), "cannot be loaded: "),
    "unbuilt": ("a.keras", unbuilt, "not built"),
    "code": (
        "a.keras",
        lambda path: sequential(keras.layers.Lambda(lambda x: x)).save(path),
        "holds Python code, as of a Lambda layer",
    ),
    "class": (
        "a.keras",
        lambda path: sequential(Foreign(2)).save(path),
        "it needs Foreign, .*--import ",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_one_line_and_nothing_is_written(fault, tmp_path, capsys):
    name, make, reason = FAULTS[fault]
    path = tmp_path / name
    make(path)
    before = sorted(tmp_path.iterdir())
    status, out, err = run(capsys, "strip", path, tmp_path / "new.keras")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith(f"kreg: {path}: ")
    assert re.search(reason, err), err
    assert sorted(tmp_path.iterdir()) == before


def reads_a_model(command):
    return re.search(r"a \.keras file$", help_of(command), re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in COMMANDS if reads_a_model(c)])
def test_no_command_runs_code_of_a_file(command, tmp_path, capsys):
    path = tmp_path / "a.keras"
    sequential(keras.layers.Lambda(lambda x: x)).save(path)
    writes = " OUTPUT" in help_of(command)
    words = [tmp_path / "b.keras"] if writes else []
    status, out, err = run(capsys, command, path, *words)
    assert (status, out) == (1, "")
    assert "Python code" in err


def test_report_names_the_file_that_is_bad(tmp_path, capsys):
    network().save(tmp_path / "good.keras")
    words = ("report", tmp_path / "good.keras", tmp_path / "bad.keras")
    status, _, err = run(capsys, *words)
    assert status == 1
    assert err == f"kreg: {tmp_path / 'bad.keras'}: no such file\n"


def test_a_model_that_cannot_be_compacted_says_why(tmp_path, capsys):
    @keras.saving.register_keras_serializable(package="tests_of_the_command")
    class Own(keras.Model):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.dense = keras.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(RNG.normal(size=(2, 3)))
    model.save(tmp_path / "own.keras")
    words = ("compact", tmp_path / "own.keras", tmp_path / "new.keras")
    status, _, err = run(capsys, *words)
    assert status == 1
    assert err.startswith(f"kreg: {tmp_path / 'own.keras'}: `sample` is needed")
    assert len(err.splitlines()) == 1
    assert list(files_in(tmp_path)) == ["own.keras"]


def test_control_characters_of_a_file_do_not_reach_the_terminal(
    tmp_path, capsys
):
    config = FUNCTION.replace("system", "\\u001b[31mred")
    model_file(tmp_path / "a.keras", **{"config.json": config})
    _, _, err = run(capsys, "inspect", tmp_path / "a.keras")
    assert "\x1b" not in err
    assert "\\x1b[31mred" in err


def test_optimizer_that_cannot_be_loaded_is_a_note(tmp_path, capsys):
    def foreign_loss(y, predicted):
        return keras.ops.mean(y - predicted)

    model = network()
    model.compile("adam", foreign_loss)
    model.save(tmp_path / "net.keras")
    words = (tmp_path / "net.keras", tmp_path / "plain.keras")
    status, out, err = run(capsys, "strip", *words)
    assert status == 0
    assert "hidden/kernel" in out
    assert len(err.splitlines()) == 1
    assert re.match("kreg: note: .*goes on without the optimizer", err)
    assert "foreign_loss" in err
    assert not keras.saving.load_model(words[1]).compiled


@pytest.mark.filterwarnings("default:Skipping variable loading")
def test_warnings_of_keras_are_notes(tmp_path, capsys):
    model = network()
    model.compile("adam", "mse")  # saved without the state of an optimizer
    model.save(tmp_path / "net.keras")
    status, _, err = run(capsys, "inspect", tmp_path / "net.keras")
    assert status == 0
    assert re.fullmatch("kreg: note: Skipping variable loading .*\n", err)


def test_import_makes_classes_known(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_layers_of_the_tests.py").write_text(
        "import keras\n"
        "print('imported')\n"
        "@keras.saving.register_keras_serializable(package='own')\n"
        "class Dense(keras.layers.Dense):\n"
        "    pass\n"
    )
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.chdir(tmp_path)
    network().save("net.keras")
    with zipfile.ZipFile("net.keras") as archive:
        config = json.loads(archive.read("config.json"))
    last = config["config"]["layers"][-1]
    assert last["class_name"] == "Dense"
    last.update(
        module="own_layers_of_the_tests",
        registered_name="own>Dense",
    )
    model_file("net.keras", **{"config.json": json.dumps(config)})
    status, _, err = run(capsys, "inspect", "net.keras", "--json")
    assert status == 1
    assert "it needs own>Dense" in err
    assert "--import own_layers_of_the_tests" in err
    words = ("net.keras", "--json", "--import", "own_layers_of_the_tests")
    status, out, err = run(capsys, "inspect", *words)
    assert err == "imported\n"
    assert status == 0
    assert len(json.loads(out)["reading"]["weights"]) == 4


@pytest.mark.thorough
def test_module_that_cannot_be_imported(tmp_path, capsys):
    trained().save(tmp_path / "net.keras")
    words = ("inspect", tmp_path / "net.keras", "--import", "not_there_at_all")
    status, _, err = run(capsys, *words)
    assert status == 1
    assert err.startswith("kreg: cannot import not_there_at_all: ")


def test_traceback_on_demand(tmp_path, capsys):
    words = ("inspect", tmp_path / "net.keras")
    assert "Traceback" not in run(capsys, *words)[2]
    assert "Traceback" in run(capsys, *words, "--traceback")[2]
