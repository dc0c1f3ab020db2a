"""`kreg compare`: its results, and the arguments that it refuses."""

import inspect
import json
import sys

import numpy as np
import pytest
from cli.saved_files import run
from thorough import few_of

import kreg
from kreg.cli import main
from kreg.selection import StrengthGrid, Training

QUICK = (
    *("--penalties", "none,l1", "--strengths", "1.0,0.1", "--folds", 2),
    *("--epochs", 20, "--batch-size", "all"),
)


def compare(capsys, *words, build="kreg_train.py:build_model"):
    return run(capsys, "compare", build, "--data", "data.npz", *words)


@pytest.mark.slow
def test_compares_and_draws(files, capsys):
    pytest.importorskip("matplotlib")
    words = (*QUICK, "--plot", "out.png", "--json")
    status, out, _ = compare(capsys, *words)
    assert status == 0
    record = json.loads(out)
    assert list(record["penalties"]) == ["none", "l1"]
    strengths = {r["strength"] for r in record["rows"] if r["penalty"] == "l1"}
    assert strengths == {0.1, 1.0}
    assert record["chosen"]["penalty"] == record["chosen_penalty"]
    assert set(record["test"]) >= {"data_loss", "mae"}
    assert (files / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_table_and_verdict(files, capsys):
    status, out, _ = compare(capsys, *QUICK, build="kreg_train:build_model")
    assert status == 0
    assert " at strength " in out
    assert "test data_loss: " in out


def test_a_plot_is_not_replaced_and_nothing_is_trained(
    files, capsys, monkeypatch
):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("kreg.selection.compare", None)
    (files / "out.png").write_text("mine")
    status, _, err = compare(capsys, *QUICK, "--plot", "out.png")
    assert status == 1
    assert err == "kreg: out.png: exists; --force replaces it\n"
    assert (files / "out.png").read_text() == "mine"


def test_the_extra_is_named_before_training(files, capsys, monkeypatch):
    monkeypatch.setattr("kreg.selection.compare", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = compare(capsys, *QUICK, "--plot", "out.png")
    assert status == 1
    assert "pip install 'kreg[plot]'" in err


def test_what_is_left_out_is_as_in_python(files, capsys, monkeypatch):
    called = {}

    def record(build_model, data, penalties, **others):
        called.update(others, penalties=penalties)
        raise ValueError("enough")

    defaults = inspect.signature(kreg.compare).parameters
    monkeypatch.setattr("kreg.selection.compare", record)
    assert "enough" in compare(capsys)[2]
    for name in ("penalties", "folds", "select"):
        assert called[name] == defaults[name].default
    assert called["strengths"] == StrengthGrid()
    assert called["training"] == Training(20)


@pytest.mark.parametrize(
    ("build", "status", "text"),
    [
        ("kreg_train.py", 2, "must be FILE.py:FUNCTION"),
        ("kreg_train.py:", 2, "must be FILE.py:FUNCTION"),
        ("absent.py:build_model", 1, "absent.py: no such file"),
        ("absent_module:build_model", 1, "cannot import absent_module"),
        ("kreg_train.py:other", 1, "kreg_train.py: has no function other"),
        ("kreg_train.py:number", 1, "kreg_train.py: has no function number"),
    ],
)
def test_functions_that_are_none(files, capsys, build, status, text):
    found, _, err = compare(capsys, build=build)
    assert (found, len(err.splitlines())) == (status, 1)
    assert err.startswith(f"kreg: {text}" if "no" in text else "kreg: ")
    assert text in err


def test_a_program_that_fails(files, capsys):
    (files / "kreg_train.py").write_text("1 / 0")
    status, _, err = compare(capsys)
    assert status == 1
    assert "cannot import kreg_train.py: ZeroDivisionError" in err


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x": [[1.0]]}, "it has x"),
        ({"x": [[1.0]], "y": [1.0], "z": [1.0]}, "it has x, y, z"),
        ({"x": [[1.0]], "y": [1.0], "x_test": [[1.0]]}, "both of x_test"),
    ],
)
def test_data_without_what_is_needed(files, capsys, arrays, text):
    np.savez(files / "data.npz", **arrays)
    status, _, err = compare(capsys)
    assert status == 1
    assert text in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_files_that_hold_no_arrays(files, capsys, content):
    (files / "data.npz").unlink()
    if content is not None:
        (files / "data.npz").write_bytes(content)
    status, _, err = compare(capsys)
    assert status == 1
    assert err.startswith("kreg: data.npz: ")
    assert len(err.splitlines()) == 1


def test_pickled_objects_are_not_loaded(files, capsys):
    np.savez(files / "data.npz", x=np.array([{}]), y=np.array([1.0]))
    status, _, err = compare(capsys)
    assert status == 1
    assert "must be an .npz file" in err


@pytest.mark.parametrize(
    "words",
    [
        ("--penalties", "l3"),
        ("--penalties", "l1,l1"),
        ("--strengths", "-1"),
        ("--strengths", "1,1"),
        ("--strengths", "many"),
        ("--select", "worst"),
        ("--select", "1.5"),
        ("--folds", "1"),
        ("--batch-size", "0"),
        ("--plot", "out.txt"),
    ],
)
def test_bad_words_are_a_usage_error(words):
    with pytest.raises(SystemExit) as raised:
        main(["compare", "a.py:f", "--data", "data.npz", *words])
    assert raised.value.code == 2


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", few_of(["l1", "l2", "l1l2", "group", "inputs"], "l1l2", "inputs")
)
def test_penalties_are_such_as_a_path_takes(files, capsys, name):
    words = ("--strengths", 0.001, "--epochs", 1, "--penalty", name, "--json")
    build = "kreg_train.py:build_model"
    status, out, err = run(capsys, "path", build, "--data", "data.npz", *words)
    assert status == 0, err
    assert json.loads(out)["points"][0]["train"]["penalty"] > 0.0
