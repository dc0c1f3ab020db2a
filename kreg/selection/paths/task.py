"""`PathTask`: a path with all it needs to run here or in a worker."""

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import keras

from kreg.selection.data.rows import TrainingData
from kreg.selection.execution.workers import run_tasks
from kreg.selection.paths.checkpoints import Checkpoints
from kreg.selection.paths.result import PathResult
from kreg.selection.paths.run import PathRun
from kreg.selection.strengths.grid import (
    Direction,
    StrengthGrid,
    Unpenalized,
)
from kreg.selection.strengths.penalty_family import (
    PenaltyChoice,
    penalty_family,
)
from kreg.selection.training.inputs import is_linear
from kreg.selection.training.models import (
    architecture,
    new_model,
    refuse_other_architecture,
)
from kreg.selection.training.training import Training
from kreg.tensorflow_messages import without_retracing_alarm


@dataclass(frozen=True)
class KerasSettings:
    """Keras's settings that a worker takes over from the caller.

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
        """Apply the settings to Keras.

        Raises:
            RuntimeError: if Keras runs on another backend, which cannot be
                changed after the import.
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
    """A path, run by calling it.

    Args:
        build_model: builds the model.
        data: the training data and the validation data.
        penalty: the penalty, as for `kreg.path`.
        strengths: the strengths, or `Unpenalized`.
        training: how a model is trained at each strength.
        seed: the seed.
        directory: the folder for the path's points; None to save nothing.
        keeps_weights: whether a call returns the weights of all points.
        keras_settings: the settings of Keras for the process that calls it.
    """

    build_model: Callable[[], keras.Model]
    data: TrainingData
    penalty: PenaltyChoice
    strengths: StrengthGrid | Unpenalized
    training: Training
    seed: int
    directory: Path | None = None
    keeps_weights: bool = False
    keras_settings: KerasSettings = field(default_factory=KerasSettings)

    def __call__(self) -> PathResult:
        self.keras_settings.apply()
        result = self.run(verbose=0)
        return result if self.keeps_weights else replace(result, weights=None)

    def run(self, verbose: int) -> PathResult:
        """Run the points of the path that are not finished.

        Args:
            verbose: 0 or 1, whether to show progress.
        """
        family = penalty_family(self.penalty)
        model = new_model(self.build_model, self.seed)
        model_architecture = architecture(model)
        direction = self._direction(is_linear(model))
        identity = {
            "penalty": family.text,
            "strengths": asdict(self.strengths),
            "direction": direction,
            **asdict(self.training),
            "seed": self.seed,
            "data": self.data.fingerprint(),
            "architecture": model_architecture,
        }
        store = Checkpoints(self.directory, identity)
        twin = None
        if self.training.refit:
            twin = new_model(self.build_model, self.seed)
            refuse_other_architecture(model_architecture, twin)
        with without_retracing_alarm():
            path_run = PathRun(
                model, twin, family, self.training, self.data, store, self.seed
            )
            path_run.prepare(self.strengths, direction)
            return path_run.result(verbose)

    def _direction(self, linear: bool) -> Direction:
        """Whether strengths increase or decrease along the path."""
        if self.strengths.direction == "auto":
            return "down" if linear else "up"
        if (
            self.strengths.direction == "down"
            and self.strengths.values is None
            and not linear
        ):
            raise ValueError(
                '`direction` must be "up" or "auto" for a model with hidden '
                "layers whose strengths kreg chooses: its inner weights can "
                "never leave zero. Received: direction='down'"
            )
        return self.strengths.direction


Key = TypeVar("Key", bound=Hashable)


def run_kept(
    tasks: Mapping[Key, PathTask],
    executor: Executor | None,
    on_result: Callable[[Key, PathResult], None],
) -> dict[Key, PathResult]:
    """Run the paths whose results are not in their folders yet.

    Args:
        tasks: the paths by key; a path without a folder is not saved.
        executor: the executor that runs them; None to run them here.
        on_result: called with the key and the result of each path when it
            ends.

    Returns:
        The results, in the order of the tasks.
    """
    results: dict[Key, PathResult] = {}
    left = []
    for key, task in tasks.items():
        file = _result_file(task)
        if file is not None and file.exists():
            results[key] = PathResult.load(file)
            on_result(key, results[key])
        else:
            left.append(key)

    def keep(index: int, result: PathResult) -> None:
        key = left[index]
        file = _result_file(tasks[key])
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            result.save(file)
        results[key] = result
        on_result(key, result)

    run_tasks([tasks[key] for key in left], executor, keep)
    return {key: results[key] for key in tasks}


def _result_file(task: PathTask) -> Path | None:
    return None if task.directory is None else task.directory / "result.json"
