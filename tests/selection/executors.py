"""Executors of every kind, each with few workers."""

from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import pytest

from kreg.selection import LocalProcesses


@contextmanager
def cluster():
    """The executor of a dask cluster of two worker processes."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
        ) as made,
        distributed.Client(made) as client,
    ):
        assert len(client.scheduler_info()["workers"]) == 2
        yield client.get_executor()


def process_pool():
    """A plain pool of one process."""
    return ProcessPoolExecutor(1, get_context("spawn"))


EXECUTORS = {
    "local processes": partial(LocalProcesses, 1),
    "process pool": process_pool,
    "cluster": cluster,
}
