"""A path that was interrupted goes on to the same result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from selection.interrupted_path import X, Y, end, run

import kreg
from kreg.selection.paths.checkpoints import Checkpoints

SCRIPT = Path(__file__).with_name("interrupted_path.py")


@pytest.fixture(scope="module", name="unbroken")
def _unbroken():
    return run(None)


@pytest.fixture(scope="module", name="finished")
def _finished(tmp_path_factory):
    """The directory of a finished path."""
    directory = tmp_path_factory.mktemp("finished")
    run(directory)
    return directory


def assert_same(first, second):
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    for ours, theirs in zip(first.points, second.points, strict=True):
        assert ours.train == theirs.train
        assert ours.steps == theirs.steps


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_ended_process_loses_no_finished_point(how, tmp_path, unbroken):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "point_0001.npz").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert end(process, getattr(signal, how)) != 0
    finished = sorted(tmp_path.glob("point_*.npz"))
    assert 2 <= len(finished) < 5
    before = finished[0].stat().st_mtime_ns
    assert_same(run(tmp_path), unbroken)
    assert finished[0].stat().st_mtime_ns == before


@pytest.mark.slow
def test_path_that_failed_goes_on(tmp_path, unbroken, monkeypatch):
    save_point = Checkpoints.save_point

    def fail(self, number, *arguments):
        if number == 2:
            raise OSError("my own error")
        save_point(self, number, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save_point", fail)
        with pytest.raises(OSError, match="my own error"):
            run(tmp_path)
    assert_same(run(tmp_path), unbroken)


@pytest.mark.thorough
def test_finished_path_is_read(tmp_path, unbroken):
    assert_same(run(tmp_path), unbroken)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert_same(run(tmp_path), unbroken)
    assert files == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}


@pytest.mark.slow
def test_points_without_their_state_are_run_again(tmp_path, unbroken):
    run(tmp_path)
    (tmp_path / "state.npz").unlink()
    assert_same(run(tmp_path), unbroken)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"penalty": lambda s: kreg.L1(2 * s)}, "penalty"),
        ({"data": (X + 1e-6, Y)}, "data"),
        ({"epochs": 5}, r"epochs \(40 there, 5 here\)"),
        ({"refit": True}, "refit"),
    ],
)
def test_folder_of_another_path_is_refused(change, told, finished):
    with pytest.raises(ValueError, match=f"`directory` must be.*{told}"):
        run(finished, **change)
