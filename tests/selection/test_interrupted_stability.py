"""Stability selection that was interrupted goes on to the same result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from selection.interrupted_path import end
from selection.interrupted_stability import Y, run

import kreg
from kreg.selection import LocalProcesses, PathResult
from kreg.selection.paths.task import PathTask

SCRIPT = Path(__file__).with_name("interrupted_stability.py")


@pytest.fixture(scope="module", name="unbroken")
def _unbroken():
    return run(None)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible", "workers_find_the_tests")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_ended_process_loses_no_finished_half(how, tmp_path, unbroken):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    deadline = time.monotonic() + 200
    first = tmp_path / "half_0000" / "result.json"
    while not first.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert end(process, getattr(signal, how)) != 0
    finished = sorted(tmp_path.glob("half_*/result.json"))
    assert 1 <= len(finished) < 4
    before = first.stat().st_mtime_ns
    assert run(tmp_path) == unbroken
    assert first.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.usefixtures("workers_find_the_tests")
def test_processes_keep_the_same(tmp_path, unbroken):
    with LocalProcesses(2) as executor:
        assert run(tmp_path, executor=executor) == unbroken
    assert len(list(tmp_path.glob("half_*/result.json"))) == 4


@pytest.fixture(name="paths_run")
def _paths_run(monkeypatch):
    """The seeds of the paths that are run; their results are made up."""
    seeds = []

    def made_up(task, verbose):
        seeds.append(task.seed)
        return PathResult(points=(_point(),), penalty="L1", seed=task.seed)

    monkeypatch.setattr(PathTask, "run", made_up)
    return seeds


def _point():
    return kreg.selection.PathPoint(
        0.1, None, 0.5, 1, 0, 0, (1,), {}, {}, 1, 1, None, 0.1, True
    )


def test_finished_halves_are_not_run_again(tmp_path, paths_run):
    first = run(tmp_path)
    assert paths_run == [0, 0, 1, 1]
    assert run(tmp_path) == first
    assert len(paths_run) == 4


def test_more_pairs_run_only_what_is_new(tmp_path, paths_run):
    run(tmp_path)
    del paths_run[:]
    more = run(tmp_path, pairs=3, threshold=0.9)
    assert paths_run == [2, 2]
    assert len(more.selections) == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"penalty": kreg.L1}, "penalty"),
        ({"epochs": 21}, r"epochs \(20 there, 21 here\)"),
        ({"seed": 1}, r"seed \(0 there, 1 here\)"),
        ({"strengths": [0.1]}, "strengths"),
    ],
)
def test_folder_of_another_selection_is_refused(
    change, told, tmp_path, paths_run
):
    run(tmp_path)
    with pytest.raises(ValueError, match=f"same selection.*{told}"):
        run(tmp_path, **change)
    assert len(paths_run) == 4


def test_folder_of_other_rows_is_refused(tmp_path, paths_run, monkeypatch):
    run(tmp_path)
    monkeypatch.setattr("selection.interrupted_stability.Y", Y + 1e-9)
    with pytest.raises(ValueError, match=r"same selection.*data"):
        run(tmp_path)


def test_progress_is_shown_for_each_half(paths_run, monkeypatch):
    shown = []

    class Show:
        def __init__(self, work, number, verbose):
            shown.append((number, verbose))

        def __enter__(self):
            return shown.append

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(
        "kreg.selection.features.stability.shown_progress", Show
    )
    run(None, verbose=1)
    assert shown == [(4, 1), *["1 features"] * 4]
