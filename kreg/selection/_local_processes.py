"""Worker processes on this machine."""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import keras

from kreg._arguments import positive_integer


class LocalProcesses(Executor):
    """Runs paths in processes of this machine, side by side.

    An `executor` for `kreg.compare`. Choose it for small models on a machine
    with many cores. Leave `executor` out where a GPU does the work, which one
    process fills, and in a notebook, because what another process runs must
    stand in a module that it can import.

    Processes are spawned, and each has its share of the cores. Where one ends
    before its work is done, such as for want of memory, new ones are started.

    Args:
        workers: int >= 1, how many processes. Defaults to `None`: one for
            each core.
        threads: int >= 1, the threads of TensorFlow or torch in each. Of no
            effect on JAX. Defaults to `None`: cores divided by workers.

    Raises:
        TypeError: if an argument is not an integer.
        ValueError: if one is less than 1.

    Example:

    >>> import kreg
    >>> with kreg.selection.LocalProcesses(2) as executor:
    ...     executor.workers  # of kreg.compare(..., executor=executor)
    2
    """

    def __init__(
        self, workers: int | None = None, threads: int | None = None
    ) -> None:
        cores = os.cpu_count() or 1
        self.workers = positive_integer("workers", workers or cores)
        self.threads = positive_integer(
            "threads", threads or max(1, cores // self.workers)
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
    """Raise if another process of this machine could not run an argument.

    Args:
        executor: the executor; those that bring functions to their workers in
            their own way are not checked.
        **arguments: what is to be sent, by the names that users know.
    """
    if not isinstance(executor, (LocalProcesses, ProcessPoolExecutor)):
        return
    for name, value in arguments.items():
        try:
            pickle.dumps(value)
            reason = "was defined in a notebook or at the prompt"
            sent = not _is_interactive(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            reason, sent = str(error), False
        if not sent:
            raise TypeError(
                f"`{name}` must be something that another process can import: "
                "put its functions at the top of a module (a .py file) and "
                "import them, or leave `executor` out to work in this process. "
                f"Received: {name}={value!r}, which {reason}"
            )


def _is_interactive(value: Any) -> bool:
    main = sys.modules["__main__"]
    return getattr(value, "__module__", None) == "__main__" and not hasattr(
        main, "__file__"
    )


def _start_worker(backend: str, threads: int) -> None:
    """Give a new process its share of the machine."""
    if backend == "tensorflow":
        from kreg.selection._tensorflow import take_share

        take_share(threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
