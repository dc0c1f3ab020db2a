"""`kreg path`: its results, and the arguments that it refuses."""

import json
import sys

import numpy as np
import pytest
from cli.saved_files import run

from kreg.cli import main
from kreg.selection import PathResult, StrengthGrid, Training

QUICK = ("--strengths", "1.0,0.1", "--epochs", 20, "--batch-size", "all")


def path(capsys, *words, build="kreg_train.py:build_model"):
    return run(capsys, "path", build, "--data", "data.npz", *words)


@pytest.fixture
def _nothing_is_trained(monkeypatch):
    monkeypatch.setattr("kreg.selection.path", None)


def test_a_path_is_run_drawn_and_written(files, capsys):
    pytest.importorskip("matplotlib")
    words = (*QUICK, "--plot", "out.svg", "--output", "out.json", "--json")
    status, out, _ = path(capsys, *words)
    assert status == 0
    record = json.loads(out)
    assert [p["strength"] for p in record["points"]] == [1.0, 0.1]
    assert record["best"] in record["points"]
    assert b"<svg" in (files / "out.svg").read_bytes()
    saved = PathResult.load(files / "out.json")
    assert saved.best().to_dict() == record["best"]
    assert len(saved.weights) == 2


@pytest.mark.thorough
def test_a_table_for_people_and_a_folder_to_go_on_from(files, capsys):
    words = (*QUICK, "--directory", "kept")
    status, out, _ = path(capsys, *words)
    assert status == 0
    assert "best at strength 0.1: data_loss " in out
    rows = [row.split() for row in out.splitlines()]
    assert [row[0] for row in rows if row[:1] in (["1"], ["0.1"])] == [
        "1",
        "0.1",
    ]
    points = {p: p.stat().st_mtime_ns for p in files.glob("kept/point_*")}
    assert len(points) == 2
    del sys.modules["kreg_train"]  # as in a process of its own
    assert path(capsys, *words)[:2] == (0, out)
    assert points == {p: p.stat().st_mtime_ns for p in points}


@pytest.mark.thorough
def test_without_rows_to_judge_by_there_is_no_best(files, capsys):
    words = (*QUICK, "--validation-split", 0, "--penalty", "inputs", "--json")
    status, out, _ = path(capsys, *words)
    assert status == 0
    record = json.loads(out)
    assert record["best"] is None
    assert record["points"][0]["validation"] == {}
    assert "GroupLasso" in record["penalty"]


def test_a_folder_of_another_path_is_refused(files, capsys):
    (files / "kept").mkdir()
    (files / "kept" / "path.json").write_text('{"strengths": [0.5]}')
    status, _, err = path(capsys, *QUICK, "--directory", "kept")
    assert status == 1
    assert "`directory` must be empty, or hold this same path" in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("_nothing_is_trained")
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--plot", "out.png"), "out.png"),
        (("--output", "out.json"), "out.json"),
        (("--output", "out.json"), "out.npz"),
    ],
)
def test_files_are_not_replaced_and_nothing_is_trained(
    files, capsys, words, name
):
    pytest.importorskip("matplotlib")
    (files / name).write_text("mine")
    status, _, err = path(capsys, *QUICK, *words)
    assert status == 1
    assert err == f"kreg: {name}: exists; --force replaces it\n"
    assert (files / name).read_text() == "mine"


@pytest.mark.usefixtures("_nothing_is_trained")
def test_the_extra_is_named_before_training(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = path(capsys, *QUICK, "--plot", "out.png")
    assert status == 1
    assert "pip install 'kreg[plot]'" in err


def test_rows_that_hold_nan(files, capsys):
    np.savez(files / "data.npz", x=np.full((9, 5), np.nan), y=np.ones(9))
    status, _, err = path(capsys, *QUICK)
    assert status == 1
    assert "`data` must hold finite numbers" in err


def test_what_is_left_out_is_as_in_python(files, capsys, monkeypatch):
    called = {}

    def record(build_model, data, penalty, strengths, **others):
        called.update(others, strengths=strengths)
        raise ValueError("enough")

    monkeypatch.setattr("kreg.selection.path", record)
    assert "enough" in path(capsys)[2]
    assert called["strengths"] == StrengthGrid()
    assert called["training"] == Training(20)


def test_an_unknown_metric(files, capsys):
    status, _, err = path(capsys, *QUICK, "--monitor", "auc")
    assert status == 1
    assert "`monitor` must be a metric" in err


@pytest.mark.parametrize(
    "words",
    [
        ("--penalty", "none"),
        ("--penalty", "l3"),
        ("--strengths", "1,1"),
        ("--num-strengths", "0"),
        ("--validation-split", "1"),
        ("--validation-split", "half"),
        ("--output", "out.npz"),
        ("--plot", "out.txt"),
    ],
)
def test_bad_words_are_a_usage_error(words):
    with pytest.raises(SystemExit) as raised:
        main(["path", "a.py:f", "--data", "data.npz", *words])
    assert raised.value.code == 2
