"""Running independent work here, in other processes or on other machines."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    wait,
)
from typing import Any, TypeVar

T = TypeVar("T")
_LOSSES = 3


def run_tasks(
    tasks: Sequence[Callable[[], T]],
    executor: Executor | None,
    finished: Callable[[int, T], None],
) -> None:
    """Run every task once, and again where its worker was lost.

    Args:
        tasks: functions without arguments, independent of each other.
        executor: where to run them; None for here, one after the other.
        finished: is told the index and the result of each task as it ends.

    Raises:
        RuntimeError: if workers are lost several times in a row with no task
            ending between.
    """
    left = dict(enumerate(tasks))

    def end(index: int, result: T) -> None:
        del left[index]
        finished(index, result)

    losses = 0
    while left and executor is not None:
        before = len(left)
        try:
            _run_once(dict(left), executor, end)
        except _PoolIsGoneError as gone:
            warnings.warn(
                "`executor` lost a worker and takes no more work, so what is "
                "left runs in this process. "
                "`kreg.selection.LocalProcesses` goes on with new workers. "
                f"Received: executor={executor!r}, which says: {gone}",
                stacklevel=2,
            )
            break
        except BrokenExecutor as error:
            losses = 1 if len(left) < before else losses + 1
            if losses == _LOSSES:
                raise RuntimeError(
                    f"Workers ended {losses} times in a row before a path "
                    "did. Either they run out of memory: use fewer. Or they "
                    "cannot start: put the program's own lines below "
                    '`if __name__ == "__main__":`, and `build_model` into a '
                    "module. With `executor=None` the error shows."
                ) from error
    for index, task in list(left.items()):
        end(index, task())


class _PoolIsGoneError(Exception):
    """Raised where an executor takes no task at all."""


def _run_once(
    tasks: dict[int, Callable[[], T]],
    executor: Executor,
    end: Callable[[int, T], None],
) -> None:
    """Submit the tasks, and report those that end.

    Raises:
        _PoolIsGoneError: if the executor takes none.
        BrokenExecutor: if a worker is lost, once all tasks are settled.
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


def executor_text(executor: Any) -> str:
    """What an executor is called in a table."""
    return "this process" if executor is None else type(executor).__name__
