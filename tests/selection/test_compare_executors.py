"""The same comparison in this process, in others, and on a cluster."""

import os

import numpy as np
import pytest
from selection.compared_models import (
    OPTIONS,
    PENALTIES,
    always_killed,
    data,
    linear_model,
)
from selection.executors import cluster

from kreg.selection import Execution, LocalProcesses, compare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("workers_find_the_tests"),
]
QUICK = {**OPTIONS, "strengths": [0.3], "folds": 2}


def compared(build_model, executor=None):
    execution = Execution(executor, verbose=0)
    options = {**QUICK, "execution": execution}
    return compare(build_model, data(), PENALTIES, **options)


@pytest.fixture(scope="module", name="here")
def _here():
    return compared(linear_model)


def assert_same(ours, theirs):
    for row, other in zip(ours.rows, theirs.rows, strict=True):
        assert row.scores == other.scores
        assert (row.penalty, row.strength) == (other.penalty, other.strength)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_local_processes(here):
    with LocalProcesses(2) as executor:
        there = compared(linear_model, executor)
    assert_same(there, here)


def test_processes_that_are_always_killed(monkeypatch):
    monkeypatch.setenv("CALLER", str(os.getpid()))
    with (
        LocalProcesses(1) as executor,
        pytest.raises(RuntimeError, match="Workers ended 3 times in a row"),
    ):
        compared(always_killed, executor)


@pytest.mark.filterwarnings("ignore")  # of the cluster's own
def test_a_cluster_of_two_workers(here):
    with cluster() as executor:
        there = compared(linear_model, executor)
    assert_same(there, here)
