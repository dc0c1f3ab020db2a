"""Tasks run once and right on every executor, even if workers are lost."""

import os
import pickle
import sys
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from functools import partial
from multiprocessing import get_context

import pytest
from selection.worker_tasks import (
    killed_elsewhere,
    square,
    square_unless_killed,
)

from kreg.selection import LocalProcesses
from kreg.selection.execution.workers import (
    refuse_what_cannot_be_sent,
    run_tasks,
)


def results_of(tasks, executor):
    results = []
    run_tasks(tasks, executor, lambda *result: results.append(result))
    return results


SQUARES = [partial(square, number) for number in range(6)]


class Losing(Executor):
    """Runs tasks at once; loses the given ones the first time."""

    def __init__(self, lost):
        self._lost = set(lost)
        self.submitted = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        number = fn.args[0]
        self.submitted.append(number)
        if number in self._lost:
            self._lost.discard(number)
            future.set_exception(BrokenExecutor("lost"))
        else:
            future.set_result(fn())
        return future


def test_here_one_after_the_other():
    assert results_of(SQUARES, None) == [(i, i * i) for i in range(6)]


def test_in_threads():
    with ThreadPoolExecutor(3) as executor:
        found = results_of(SQUARES, executor)
    assert sorted(found) == [(i, i * i) for i in range(6)]


def test_what_is_lost_is_run_again_and_nothing_else():
    executor = Losing([1, 4])
    assert sorted(results_of(SQUARES, executor)) == [
        (i, i * i) for i in range(6)
    ]
    assert executor.submitted == [0, 1, 2, 3, 4, 5, 1, 4]


def test_an_error_of_the_work_is_not_run_again():
    calls = []

    def fail():
        calls.append(1)
        raise ValueError("my own error")

    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ValueError, match="my own error"),
    ):
        results_of([fail, *SQUARES], executor)
    assert len(calls) == 1


@pytest.mark.slow
def test_a_killed_worker_loses_no_finished_work(tmp_path):
    (tmp_path / "kill").touch()
    tasks = [partial(square_unless_killed, n, str(tmp_path)) for n in range(8)]
    with LocalProcesses(1) as executor:
        found = results_of(tasks, executor)
    assert sorted(found) == [(n, n * n) for n in range(8)]
    runs = [file.name.split("-")[0] for file in tmp_path.iterdir()]
    assert sorted(runs) == sorted(map(str, range(8)))  # each ended once


@pytest.mark.slow
def test_a_pool_that_is_gone_leaves_the_rest_to_this_process():
    tasks = [partial(killed_elsewhere, os.getpid())] * 2
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as executor,
        pytest.warns(UserWarning, match="run in this process"),
    ):
        found = results_of(tasks, executor)
    assert found == [(0, "here"), (1, "here")]


@pytest.mark.slow
def test_workers_that_are_always_lost_are_an_error():
    tasks = [partial(killed_elsewhere, os.getpid())]
    with (
        LocalProcesses(1) as executor,
        pytest.raises(RuntimeError, match="Workers ended 3 times in a row"),
    ):
        results_of(tasks, executor)


def test_cores_are_shared():
    cores = os.cpu_count()
    assert LocalProcesses().workers == cores
    assert LocalProcesses().threads == 1
    assert LocalProcesses(1).threads == cores
    assert LocalProcesses(8 * cores).threads == 1


@pytest.mark.parametrize("name", ["workers", "threads"])
def test_no_worker_is_refused(name):
    with pytest.raises(ValueError, match=f"Received: {name}=-1"):
        LocalProcesses(**{name: -1})


def test_a_local_function_cannot_be_sent():
    with pytest.raises(TypeError, match=r"`build_model` must.*leave `exec"):
        refuse_what_cannot_be_sent(LocalProcesses(1), build_model=lambda: None)


def test_a_function_of_a_notebook_cannot_be_sent(monkeypatch):
    main = type(sys)("__main__")
    exec("def build_model(): pass", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    pickle.dumps(main.build_model)  # but no other process could read it
    with pytest.raises(TypeError, match="was defined in a notebook"):
        refuse_what_cannot_be_sent(
            LocalProcesses(1), build_model=main.build_model
        )


def test_here_and_to_clusters_anything_goes():
    for executor in (None, Losing([])):
        refuse_what_cannot_be_sent(executor, build_model=lambda: None)
