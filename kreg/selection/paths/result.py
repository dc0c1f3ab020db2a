"""`PathResult`: the points, the best point, table and files of a path."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kreg.results.files import Weights, load_result, save_result
from kreg.results.result import ResultWithRows, SavedResult
from kreg.results.table import Column, Table
from kreg.selection.training.point import PathPoint
from kreg.selection.training.stopping import more_is_better


@dataclass(frozen=True, repr=False)
class PathResult(ResultWithRows, SavedResult):
    """The points of a path, in the order in which they were run.

    Args:
        points: one point for each strength.
        penalty: the penalty, as text.
        monitor: the name of the metric by which points are compared.
        strength_max: the strength above which everything is zero; None if it
            was not computed.
        seed: the seed of the path.
        start: the point at strength 0, trained before the first strength; None
            if there was none.
        weights: the weights of each point, as `model.get_weights()` returns
            them; None if they were not kept.

    Example:

    >>> import kreg
    >>> points = [kreg.selection.PathPoint(strength, None, 0.5, 10, 0, 0, None,
    ...     {}, {"data_loss": loss}, 1, 1, None, 0.1, True)
    ...     for strength, loss in [(0.1, 3.0), (0.2, 2.0), (0.4, 5.0)]]
    >>> result = kreg.selection.PathResult(tuple(points), "L1")
    >>> result.best().strength
    0.2
    >>> result
    PathResult(penalty='L1', points=3, best_strength=0.2, data_loss=2)
    """

    points: tuple[PathPoint, ...]
    penalty: str
    monitor: str = "data_loss"
    strength_max: float | None = None
    seed: int = 0
    start: PathPoint | None = None
    weights: tuple[Weights, ...] | None = field(
        default=None, repr=False, compare=False
    )

    def best(self) -> PathPoint:
        """The point with the best validation `monitor`.

        Larger is better for accuracies, AUC, precision, recall, F1, R2 and IoU;
        smaller is better for all other metrics. If points are equal, the one
        with the largest strength is the best.

        Raises:
            ValueError: if the points have no such validation figure.
        """
        return self.points[self.best_index()]

    def best_index(self) -> int:
        """The index of the best point in `points`."""
        scores = [self._score(point) for point in self.points]
        finite = [score for score in scores if not math.isnan(score)]
        if not finite:
            raise ValueError(
                "`monitor` must be a validation figure that is a number at "
                "at least one point; pass validation data to `path`. "
                f"Received: monitor={self.monitor!r}, with the figures "
                f"{sorted({n for p in self.points for n in p.validation})}"
            )
        return max(
            (i for i, score in enumerate(scores) if score == max(finite)),
            key=lambda i: self.points[i].strength,
        )

    def _score(self, point: PathPoint) -> float:
        """The validation figure, negated if smaller is better, or NaN."""
        value = point.validation.get(self.monitor, math.nan)
        return value if more_is_better(self.monitor) else -value

    def headline(self) -> dict[str, Any]:
        """The penalty, the number of points and the best of them."""
        figures = {"penalty": self.penalty, "points": len(self.points)}
        best = self._best_or_none()
        if best is None:
            return figures
        value = best.validation[self.monitor]
        return {**figures, "best_strength": best.strength, self.monitor: value}

    def table(self) -> Table:
        """A row for each point, and the best one below."""
        columns = (
            Column("strength"),
            Column("sparsity"),
            Column("nonzeros", rank=2),
            Column("inputs", rank=3),
            Column(f"train\n{self.monitor}", rank=1),
            Column(f"validation\n{self.monitor}"),
            Column("epochs", rank=4),
            Column("converged", rank=5),
        )
        best = self._best_or_none()
        notes = []
        if best is not None:
            notes.append(
                f"best at strength {best.strength:.4g}: {self.monitor} "
                f"{best.validation[self.monitor]:.4g}, {best.sparsity:.1%} of "
                "the penalized weights zero"
            )
        return Table(
            columns,
            [_cells(point, self.monitor) for point in self.points],
            title=self.penalty,
            notes=notes,
            chosen=None if best is None else self.points.index(best),
        )

    def _best_or_none(self) -> PathPoint | None:
        """The best point; None if no point has the validation figure."""
        scores = [self._score(point) for point in self.points]
        return None if all(map(math.isnan, scores)) else self.best()

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        weights: tuple[Weights, ...] | None = None,
    ) -> "PathResult":
        """The inverse of `to_dict`, with weights."""
        start = values["start"]
        return cls(
            **{
                **values,
                "points": tuple(map(PathPoint.from_dict, values["points"])),
                "start": None if start is None else PathPoint.from_dict(start),
            },
            weights=weights,
        )

    def save(self, path: str | Path) -> None:
        """Write the result as JSON, and the weights in an `.npz` beside it.

        Args:
            path: str or path of the JSON file, replaced if it exists.
        """
        save_result(path, self.to_dict(), self.weights)

    @classmethod
    def load(cls, path: str | Path) -> "PathResult":
        """Read a result that `save` has written."""
        return cls.from_dict(*load_result(path))

    def records(self) -> list[dict[str, Any]]:
        """The fields of each point.

        The metrics are named `train_<metric>` and `validation_<metric>`.
        """
        rows = []
        for point in self.points:
            row = point.to_dict()
            for part in ("train", "validation"):
                figures = row.pop(part)
                row.update({f"{part}_{k}": v for k, v in figures.items()})
            rows.append(row)
        return rows


def _cells(point: PathPoint, monitor: str) -> list[str]:
    read = point.selected_inputs
    train, validation = point.train.get(monitor), point.validation.get(monitor)
    return [
        f"{point.strength:.3g}",
        f"{point.sparsity:.1%}",
        f"{point.nonzeros:,}",
        "" if read is None else f"{len(read):,}",
        "" if train is None else f"{train:.4g}",
        "" if validation is None else f"{validation:.4g}",
        f"{point.epochs:,}",
        "yes" if point.converged else "no",
    ]
