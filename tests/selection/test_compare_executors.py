"""The same comparison in this process, in others, and on a cluster."""

import os
import sys

import numpy as np
import pytest
from selection.compared_models import (
    OPTIONS,
    PENALTIES,
    always_killed,
    data,
    linear_model,
    marked_model,
)

from kreg.selection import LocalProcesses, compare

pytestmark = pytest.mark.slow
QUICK = {**OPTIONS, "strengths": [0.3], "folds": 2}


@pytest.fixture(scope="module", autouse=True)
def _workers_find_the_tests():
    """Let workers import what pytest imported from the tests' folder."""
    before = os.environ.get("PYTHONPATH")
    tests = os.path.dirname(os.path.dirname(__file__))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [tests, before, *sys.path])
    )
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module", name="here")
def _here():
    return compare(linear_model, data(), PENALTIES, **QUICK)


def assert_same(ours, theirs):
    for row, other in zip(ours.rows, theirs.rows, strict=True):
        assert row.scores == other.scores
        assert (row.penalty, row.strength) == (other.penalty, other.strength)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_local_processes(here):
    with LocalProcesses(2) as executor:
        there = compare(
            linear_model, data(), PENALTIES, executor=executor, **QUICK
        )
    assert_same(there, here)


@pytest.mark.parametrize("stored", [False, True])
def test_a_killed_worker(here, tmp_path, monkeypatch, stored):
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setenv("LEFT", str(marks))
    folder = tmp_path / "stored" if stored else None

    class KillingProcesses(LocalProcesses):
        """Plans the death of a worker when the third path is given out."""

        def submit(self, fn, /, *args, **kwargs):
            given.append(fn)
            if len(given) == 3:
                (marks / "kill").touch()
            return super().submit(fn, *args, **kwargs)

    given = []
    with KillingProcesses(1) as executor:
        there = compare(
            marked_model,
            data(),
            PENALTIES,
            executor=executor,
            directory=folder,
            **QUICK,
        )
    assert len(list(marks.glob("killed-*"))) == 1
    assert_same(there, here)


def test_processes_that_are_always_killed(monkeypatch):
    monkeypatch.setenv("CALLER", str(os.getpid()))
    with (
        LocalProcesses(1) as executor,
        pytest.raises(RuntimeError, match="Workers ended 3 times in a row"),
    ):
        compare(always_killed, data(), PENALTIES, executor=executor, **QUICK)


@pytest.mark.filterwarnings("ignore")  # of the cluster's own
def test_a_cluster_of_two_workers(here):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert len(client.scheduler_info()["workers"]) == 2
        there = compare(
            linear_model,
            data(),
            PENALTIES,
            executor=client.get_executor(),
            **QUICK,
        )
    assert_same(there, here)
