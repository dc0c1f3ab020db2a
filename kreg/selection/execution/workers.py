"""Runs tasks in this process, in other processes or on other machines."""

import multiprocessing
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import keras

from kreg._arguments import optional, positive_integer

T = TypeVar("T")
_MOST_LOSSES = 3


def run_tasks(
    tasks: Sequence[Callable[[], T]],
    executor: Executor | None,
    on_result: Callable[[int, T], None],
) -> None:
    """Run every task, and run it again if its worker is lost.

    Args:
        tasks: functions without arguments, independent of each other.
        executor: the executor that runs them; None to run them here, one by
            one.
        on_result: called with the index and the result of each task when it
            ends.

    Raises:
        RuntimeError: if workers are lost several times before any task ends.
    """
    left = dict(enumerate(tasks))

    def end(index: int, result: T) -> None:
        del left[index]
        on_result(index, result)

    losses = 0
    while left and executor is not None:
        before = len(left)
        try:
            _run_once(dict(left), executor, end)
        except _PoolIsGoneError as error:
            warnings.warn(
                "`executor` lost a worker and accepts no more work, so the "
                "remaining tasks run in this process. "
                "`kreg.selection.LocalProcesses` starts new workers instead. "
                f"Received: executor={executor!r}, which says: {error}",
                stacklevel=2,
            )
            break
        except BrokenExecutor as error:
            losses = 1 if len(left) < before else losses + 1
            if losses == _MOST_LOSSES:
                raise RuntimeError(
                    f"Workers ended {losses} times in a row before a path "
                    "did. Either they run out of memory: use fewer. Or they "
                    "cannot start: put the top-level code of the script under "
                    '`if __name__ == "__main__":`, and `build_model` into a '
                    "module. Without an executor you see the actual error."
                ) from error
    for index, task in list(left.items()):
        end(index, task())


class _PoolIsGoneError(Exception):
    """The executor refuses every task."""


def _run_once(
    tasks: dict[int, Callable[[], T]],
    executor: Executor,
    end: Callable[[int, T], None],
) -> None:
    """Submit the tasks once, and call `end` with each result.

    Raises:
        _PoolIsGoneError: if the executor refuses every task.
        BrokenExecutor: if a worker was lost; raised after all other tasks.
    """
    indices: dict[Future[T], int] = {}
    lost: BrokenExecutor | None = None
    try:
        for index, task in tasks.items():
            try:
                indices[executor.submit(task)] = index
            except BrokenExecutor as error:
                if not indices:
                    raise _PoolIsGoneError(str(error)) from error
                lost = error
                break
        waiting = set(indices)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    result = future.result()
                except BrokenExecutor as error:
                    lost = error
                else:
                    end(indices[future], result)
    finally:
        for future in indices:
            future.cancel()
    if lost is not None:
        raise lost


class LocalProcesses(Executor):
    """Runs paths in parallel processes on this machine.

    An `executor` for `kreg.selection.Execution`. Choose it for small models on
    a machine with many cores. Do not use it on a GPU, which a single process
    keeps busy, nor in a notebook: other processes can only run functions from
    modules that they can import.

    Processes are spawned, and the cores are divided among them. If a process
    ends before its work is done, for example for lack of memory, new ones are
    started.

    Args:
        workers: int >= 1, the number of processes. Defaults to `None`: one for
            each core.
        threads: int >= 1, the number of TensorFlow or torch threads in each
            process; no effect on JAX. Defaults to `None`: cores divided by
            workers.

    Raises:
        TypeError: if an argument is not an integer.
        ValueError: if one is less than 1.

    Example:

    >>> import kreg
    >>> with kreg.selection.LocalProcesses(2) as executor:
    ...     execution = kreg.selection.Execution(executor)
    >>> execution.executor.workers  # of kreg.compare(..., execution=execution)
    2
    """

    def __init__(
        self, workers: int | None = None, threads: int | None = None
    ) -> None:
        cores = os.cpu_count() or 1
        self.workers = optional(positive_integer, "workers", workers) or cores
        self.threads = optional(positive_integer, "threads", threads) or max(
            1, cores // self.workers
        )
        self._pool: ProcessPoolExecutor | None = None

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run a function in one of the processes."""
        try:
            return self._started().submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            self.shutdown()
            return self._started().submit(fn, *args, **kwargs)

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        """End the processes; the next `submit` starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)
        self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.workers,
                multiprocessing.get_context("spawn"),
                _start_worker,
                (keras.backend.backend(), self.threads),
            )
        return self._pool

    def __repr__(self) -> str:
        return f"LocalProcesses(workers={self.workers}, threads={self.threads})"


def refuse_what_cannot_be_sent(executor: Any, **arguments: Any) -> None:
    """Raise if an argument cannot be sent to another process.

    Args:
        executor: the executor. Only executors that start processes on this
            machine are checked; others send functions in their own ways.
        **arguments: the arguments to send, by the user's names.
    """
    if not isinstance(executor, (LocalProcesses, ProcessPoolExecutor)):
        return
    for name, value in arguments.items():
        try:
            pickle.dumps(value)
            reason = "was defined in a notebook or at the prompt"
            can_be_sent = not _is_interactive(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            reason, can_be_sent = str(error), False
        if not can_be_sent:
            raise TypeError(
                f"`{name}` must be something that another process can import: "
                "put its functions at the top of a module (a .py file) and "
                "import them, or leave `executor` out to work in this process. "
                f"Received: {name}={value!r}, which {reason}"
            )


def _is_interactive(value: Any) -> bool:
    """Whether a value was defined in a notebook or at the prompt."""
    main = sys.modules["__main__"]
    return getattr(value, "__module__", None) == "__main__" and not hasattr(
        main, "__file__"
    )


def _start_worker(backend: str, threads: int) -> None:
    """Limit the resources of a new process."""
    if backend == "tensorflow":
        from kreg.selection.execution._tensorflow import limit_resources

        limit_resources(threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
