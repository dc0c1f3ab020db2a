"""A comparison that is being run: its paths, and what they say."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kreg.results.files import Weights
from kreg.selection.comparison.penalties import penalty_of, penalty_text
from kreg.selection.data.folds import Fold
from kreg.selection.data.rows import Arrays, TrainingData
from kreg.selection.paths.checkpoints import claim_directory
from kreg.selection.paths.path import Unpenalized, unpenalized_beside
from kreg.selection.paths.result import PathResult
from kreg.selection.paths.task import PathTask, run_kept
from kreg.selection.strengths.grid import geometric_grid

Ended = Callable[[str], None]


@dataclass(frozen=True)
class ComparisonRun:
    """What is compared, and how.

    Args:
        build_model: makes the model.
        train: all rows but those of the test.
        penalties: the penalties by name.
        folds: the folds of each seed.
        options: arguments of `kreg.path`, the same for all paths.
        grid: the number of strengths where they are not given, and the ratio
            of the smallest to the largest.
        executor: where the paths run.
        directory: the folder of finished work; None for none.
    """

    build_model: Callable[[], Any]
    train: Arrays
    penalties: Mapping[str, Any]
    folds: Mapping[int, Sequence[Fold]]
    options: Mapping[str, Any]
    grid: tuple[int, float]
    executor: Executor | None
    directory: Path | None

    def grids(
        self, given: Mapping[str, list[float] | None], ended: Ended
    ) -> dict[str, Any]:
        """The strengths of each penalty, the same for all folds.

        Where they are not given they come from all rows to train on, from a
        path with one point: it is at the top of the grid. No penalty has an
        `Unpenalized` instead.
        """
        unknown = [name for name, grid in given.items() if grid is None]
        tops = self._run(
            {
                (name,): self._task(name, "auto", self.first_seed, "top")
                for name in unknown
            },
            ended,
        )
        found = {
            (name,): geometric_grid(top.points[0].strength, *self.grid)
            for (name,), top in tops.items()
        }
        grids = {
            name: found[name,] if grid is None else grid
            for name, grid in given.items()
        }
        beside = unpenalized_beside(grids, self.penalties)
        return {
            name: beside if self.penalties[name] is None else grid
            for name, grid in grids.items()
        }

    def fold_paths(
        self, grids: Mapping[str, Any], ended: Ended
    ) -> dict[str, list[PathResult]]:
        """The paths of each penalty, fold after fold, seed after seed."""
        tasks = {
            (name, seed, number): replace(
                self._task(name, grids[name], seed, f"fold{number}"),
                data=TrainingData(
                    self.train.rows(fold.train),
                    self.train.rows(fold.validation),
                    (len(fold.train), len(fold.validation)),
                ),
            )
            for seed, folds in self.folds.items()
            for number, fold in enumerate(folds)
            for name in self.penalties
        }
        results = self._run(tasks, ended)
        return {
            name: [result for key, result in results.items() if key[0] == name]
            for name in self.penalties
        }

    def refit(self, name: str, strengths: Any, ended: Ended) -> Weights:
        """The weights at the end of a path on all rows to train on."""
        number = (
            strengths.portions
            if isinstance(strengths, Unpenalized)
            else len(strengths)
        )
        task = self._task(name, strengths, self.first_seed, f"all{number}")
        task = replace(task, keeps_weights=True)
        result = self._run({(name,): task}, ended)[name,]
        if result.weights is None:
            raise ValueError(
                "`directory` must hold the weights beside the path of all "
                "rows: remove that path. "
                f"Received: directory={str(self.directory)!r} without them"
            )
        return result.weights[-1]

    @property
    def first_seed(self) -> int:
        """The seed of paths on all rows."""
        return next(iter(self.folds))

    @property
    def number_of_folds(self) -> int:
        """The number of paths that leave rows out."""
        return len(self.penalties) * sum(map(len, self.folds.values()))

    @property
    def validation_share(self) -> float:
        """Rows that are left out over rows that are trained on, in the mean."""
        shares = [
            len(fold.validation) / len(fold.train)
            for folds in self.folds.values()
            for fold in folds
        ]
        return sum(shares) / len(shares)

    def _task(
        self, name: str, strengths: Any, seed: int, part: str
    ) -> PathTask:
        options = dict(self.options)
        if isinstance(strengths, str):
            options["num_strengths"] = 1
        place = None
        if self.directory is not None:
            number = list(self.penalties).index(name)
            place = self.directory / f"penalty{number}-seed{seed}-{part}"
        return PathTask(
            build_model=self.build_model,
            data=TrainingData(self.train, None, (self.train.size, None)),
            penalty=penalty_of(self.penalties[name]),
            strengths=strengths,
            seed=seed,
            options=options,
            directory=place,
        )

    def _run(
        self, tasks: Mapping[tuple[Any, ...], PathTask], ended: Ended
    ) -> dict[tuple[Any, ...], PathResult]:
        return run_kept(tasks, self.executor, lambda key, result: ended(key[0]))

    def claim_directory(
        self, given: Mapping[str, Any], architecture: str
    ) -> None:
        """Write into the folder what is compared.

        Args:
            given: the strengths by name.
            architecture: what tells the model from others.

        Raises:
            ValueError: if another comparison is there.
        """
        if self.directory is None:
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
            "strengths": dict(given),
            "grid": list(self.grid),
            "seeds": list(self.folds),
            "folds": hashlib.sha256(json.dumps(folds).encode()).hexdigest(),
            "options": dict(self.options),
            "data": self.train.fingerprint(),
            "architecture": architecture,
        }
        claim_directory(self.directory, "comparison", identity)
