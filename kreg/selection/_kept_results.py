"""Running paths whose results are kept in folders."""

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from kreg.selection._executors import run_tasks
from kreg.selection._path_result import PathResult
from kreg.selection._path_task import PathTask

Key = TypeVar("Key", bound=Hashable)


def run_kept(
    tasks: Mapping[Key, PathTask],
    executor: Executor | None,
    ended: Callable[[Key, PathResult], None],
) -> dict[Key, PathResult]:
    """Run the paths whose results are not in their folders yet.

    Args:
        tasks: the paths by their keys; those without a folder are not kept.
        executor: where to run them; None for here.
        ended: is told the key and the result of each path as it ends.

    Returns:
        The results, in the order of the tasks.
    """
    found: dict[Key, PathResult] = {}
    left = []
    for key, task in tasks.items():
        file = _result_file(task)
        if file is not None and file.exists():
            found[key] = PathResult.load(file)
            ended(key, found[key])
        else:
            left.append(key)

    def finished(index: int, result: PathResult) -> None:
        key = left[index]
        file = _result_file(tasks[key])
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            result.save(file)
        found[key] = result
        ended(key, result)

    run_tasks([tasks[key] for key in left], executor, finished)
    return {key: found[key] for key in tasks}


def _result_file(task: PathTask) -> Path | None:
    return None if task.directory is None else task.directory / "result.json"
