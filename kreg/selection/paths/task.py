"""Running paths whose results are kept in folders."""

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import keras

from kreg.selection.data.rows import TrainingData
from kreg.selection.paths.path import path
from kreg.selection.paths.result import PathResult
from kreg.selection.workers import run_tasks


@dataclass(frozen=True)
class KerasSettings:
    """What Keras is set to, so that a worker does as the caller would.

    Args:
        backend: the name of the backend.
        floatx: the default dtype.
        dtype_policy: the name of the default policy.
    """

    backend: str = field(default_factory=keras.backend.backend)
    floatx: str = field(default_factory=keras.config.floatx)
    dtype_policy: str = field(
        default_factory=lambda: str(keras.config.dtype_policy().name)
    )

    def apply(self) -> None:
        """Set Keras so.

        Raises:
            RuntimeError: if it runs on another backend, which cannot be
                changed any more.
        """
        if keras.backend.backend() != self.backend:
            raise RuntimeError(
                "A worker of `executor` must run Keras on the backend of the "
                f"caller: set KERAS_BACKEND={self.backend} where it is "
                f"started. Received: {keras.backend.backend()!r} there and "
                f"{self.backend!r} here"
            )
        keras.config.set_floatx(self.floatx)
        keras.config.set_dtype_policy(self.dtype_policy)


@dataclass(frozen=True)
class PathTask:
    """A path that is run where it is called.

    Args:
        build_model: makes the model.
        data: what to train on, and what to judge by.
        penalty: the penalty, as of `kreg.path`.
        strengths: the strengths, as of `kreg.path`.
        seed: the seed.
        options: further arguments of `kreg.path`.
        directory: the folder of the path's points; None for none.
        keeps_weights: whether to bring the weights of all points back.
        settings: what Keras is to be set to.
    """

    build_model: Callable[[], keras.Model]
    data: TrainingData
    penalty: Any
    strengths: Any
    seed: int
    options: Mapping[str, Any]
    directory: Path | None = None
    keeps_weights: bool = False
    settings: KerasSettings = field(default_factory=KerasSettings)

    def __call__(self) -> PathResult:
        self.settings.apply()
        result = path(
            self.build_model,
            self.data,
            self.penalty,
            self.strengths,
            directory=self.directory,
            seed=self.seed,
            verbose=0,
            **self.options,
        )
        return result if self.keeps_weights else replace(result, weights=None)


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
