"""`ComparisonRun`: runs the paths of a comparison by penalty, fold and seed."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from kreg.results.files import Weights
from kreg.selection.comparison.penalties import penalty_of, penalty_text
from kreg.selection.data.folds import Fold
from kreg.selection.data.rows import Arrays, TrainingData
from kreg.selection.execution.execution import Execution
from kreg.selection.paths.checkpoints import claim_directory
from kreg.selection.paths.result import PathResult
from kreg.selection.paths.task import PathTask, run_kept
from kreg.selection.strengths.grid import StrengthGrid, Unpenalized
from kreg.selection.training.training import Training

Show = Callable[[str], None]
"""Shows the name of the penalty whose path has just ended."""


@dataclass(frozen=True)
class ComparisonRun:
    """A comparison, with all its arguments checked.

    Args:
        build_model: builds the model.
        train: all rows except the test rows.
        penalties: the penalties by name, with None for no penalty.
        folds: the folds of each seed.
        strengths: the strengths of each penalty by name, except for no penalty.
        training: how a model is trained at each strength.
        linear: whether the model is linear.
        execution: where the paths run, and where they are saved.
    """

    build_model: Callable[[], keras.Model]
    train: Arrays
    penalties: Mapping[str, Any]
    folds: Mapping[int, Sequence[Fold]]
    strengths: Mapping[str, StrengthGrid]
    training: Training
    linear: bool
    execution: Execution

    def grids(self, show: Show) -> dict[str, StrengthGrid | Unpenalized]:
        """The strengths of each penalty, the same for all folds.

        If kreg chooses the strengths, a path of one point on all training rows
        finds the largest strength of the grid.
        """
        top_paths = self._run(
            {
                (name,): self._task(name, grid.top(), self.first_seed, "top")
                for name, grid in self.strengths.items()
                if grid.values is None
            },
            show,
        )
        grids = {
            name: grid.resolved(top_paths[name,].points[0].strength)
            if (name,) in top_paths
            else grid
            for name, grid in self.strengths.items()
        }
        points = [len(grid.values or ()) for grid in grids.values()]
        unpenalized = Unpenalized.beside(max(points, default=1), self.linear)
        return {name: grids.get(name, unpenalized) for name in self.penalties}

    def fold_paths(
        self, grids: Mapping[str, StrengthGrid | Unpenalized], show: Show
    ) -> dict[str, list[PathResult]]:
        """The paths of each penalty, ordered by seed, then by fold."""
        tasks = {
            (name, seed, number): replace(
                self._task(name, grids[name], seed, f"fold{number}"),
                data=TrainingData(
                    self.train.rows(fold.train),
                    self.train.rows(fold.validation),
                ),
            )
            for seed, folds in self.folds.items()
            for number, fold in enumerate(folds)
            for name in self.penalties
        }
        results = self._run(tasks, show)
        return {
            name: [result for key, result in results.items() if key[0] == name]
            for name in self.penalties
        }

    def refit(
        self, name: str, grid: StrengthGrid | Unpenalized, show: Show
    ) -> Weights:
        """The weights at the end of a path on all training rows."""
        part = f"all{len(grid.values or ())}"
        task = self._task(name, grid, self.first_seed, part)
        task = replace(task, keeps_weights=True)
        result = self._run({(name,): task}, show)[name,]
        if result.weights is None:
            raise ValueError(
                "`directory` must hold the weights beside the path on all "
                "rows: remove that path. Received: directory="
                f"{str(self.execution.directory)!r} without them"
            )
        return result.weights[-1]

    @property
    def first_seed(self) -> int:
        """The seed of the paths on all training rows."""
        return next(iter(self.folds))

    @property
    def number_of_fold_paths(self) -> int:
        """The number of paths on folds, over all penalties and seeds."""
        return len(self.penalties) * sum(map(len, self.folds.values()))

    @property
    def validation_ratio(self) -> float:
        """The ratio of held-out rows to training rows, averaged over folds."""
        ratios = [
            len(fold.validation) / len(fold.train)
            for folds in self.folds.values()
            for fold in folds
        ]
        return sum(ratios) / len(ratios)

    def _task(
        self,
        name: str,
        grid: StrengthGrid | Unpenalized,
        seed: int,
        part: str,
    ) -> PathTask:
        training = self.training
        if isinstance(grid, Unpenalized):
            training = replace(training, epochs=training.epochs * grid.length)
        number = list(self.penalties).index(name)
        return PathTask(
            build_model=self.build_model,
            data=TrainingData(self.train),
            penalty=penalty_of(self.penalties[name]),
            strengths=grid,
            training=training,
            seed=seed,
            directory=self.execution.folder(
                f"penalty{number}-seed{seed}-{part}"
            ),
        )

    def _run(
        self, tasks: Mapping[tuple[Any, ...], PathTask], show: Show
    ) -> dict[tuple[Any, ...], PathResult]:
        return run_kept(
            tasks, self.execution.executor, lambda key, _: show(key[0])
        )

    def claim_directory(self, architecture: str) -> None:
        """Record in the folder which comparison it belongs to.

        Args:
            architecture: the architecture of the models, as text.

        Raises:
            ValueError: if the folder belongs to another comparison.
        """
        folder = self.execution.folder()
        if folder is None:
            return
        folds = [
            [fold.train.tolist(), fold.validation.tolist()]
            for folds in self.folds.values()
            for fold in folds
        ]
        identity = {
            "penalties": {
                n: penalty_text(p) for n, p in self.penalties.items()
            },
            "strengths": {n: asdict(g) for n, g in self.strengths.items()},
            "seeds": list(self.folds),
            "folds": hashlib.sha256(json.dumps(folds).encode()).hexdigest(),
            **asdict(self.training),
            "data": self.train.fingerprint(),
            "architecture": architecture,
        }
        claim_directory(folder, "comparison", identity)
