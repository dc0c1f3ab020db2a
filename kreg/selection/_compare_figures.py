"""From the paths of a comparison to its rows, choice and verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.selection._choice import (
    Select,
    chosen_index,
    held_out_scores,
    standard_errors,
)
from kreg.selection._compare_row import CompareRow
from kreg.selection._path_point import PathPoint
from kreg.selection._path_result import PathResult, more_is_better


@dataclass(frozen=True)
class PenaltyFigures:
    """What the paths of one penalty say.

    Args:
        rows: one for each strength, in the order of the paths.
        chosen: the index of the one that is chosen.
        held_out: the score of every fold at the strength that the others
            choose.
        points: the points of a path up to the chosen one.
    """

    rows: tuple[CompareRow, ...]
    chosen: int
    held_out: NDArray[Any]
    points: int


def penalty_figures(
    name: str,
    paths: Sequence[PathResult],
    seeds: int,
    monitor: str,
    select: Select,
) -> PenaltyFigures:
    """The figures of a penalty.

    Args:
        name: its name.
        paths: its paths, fold after fold, seed after seed.
        seeds: the number of seeds.
        monitor: the metric.
        select: the rule that chooses a strength.
    """
    table = [path.points for path in paths]
    strengths = [point.strength for point in table[0]]

    def figures(of: Callable[[PathPoint], float]) -> NDArray[Any]:
        values = [[of(point) for point in points] for points in table]
        return np.array(values, "float64")

    scores = figures(lambda point: point.validation[monitor])
    shape = (seeds, len(paths) // seeds, len(strengths))
    errors = standard_errors(scores.reshape(shape))
    sparsity = figures(lambda point: point.sparsity)
    train = figures(lambda point: point.train[monitor])
    nonzeros = figures(lambda point: point.nonzeros)
    dead_units = figures(lambda point: point.dead_units)
    epochs = figures(lambda point: point.epochs)
    seconds = figures(lambda point: point.seconds)
    rows = tuple(
        CompareRow(
            penalty=name,
            strength=strength,
            mean=float(scores[:, i].mean()),
            standard_error=float(errors[i]),
            scores=tuple(scores[:, i].tolist()),
            train_mean=float(train[:, i].mean()),
            sparsity=float(sparsity[:, i].mean()),
            nonzeros=float(nonzeros[:, i].mean()),
            dead_units=float(dead_units[:, i].mean()),
            epochs=float(epochs[:, i].mean()),
            seconds=float(seconds[:, i].sum()),
        )
        for i, strength in enumerate(strengths)
    )
    better = scores if more_is_better(monitor) else -scores
    choice = (
        better.reshape(shape),
        sparsity.reshape(shape),
        strengths,
        select,
    )
    held_out = held_out_scores(*choice)
    held_out = held_out if more_is_better(monitor) else -held_out
    chosen = chosen_index(*choice)
    return PenaltyFigures(rows, chosen, held_out.reshape(-1), chosen + 1)


def unpenalized_figures(
    name: str, paths: Sequence[PathResult], seeds: int, monitor: str
) -> PenaltyFigures:
    """The figures of no penalty: one row, after the best number of portions.

    Args:
        name, paths, seeds, monitor: as for `penalty_figures`, of paths whose
            points are portions of one training.
    """
    portions = penalty_figures(name, paths, seeds, monitor, "best")
    made = portions.rows[: portions.points]
    row = replace(
        made[-1],
        epochs=sum(portion.epochs for portion in made),
        seconds=sum(portion.seconds for portion in portions.rows),
    )
    return replace(portions, rows=(row,), chosen=0)


def chosen_penalty(
    figures: Mapping[str, PenaltyFigures], monitor: str, select: Select
) -> str:
    """The name of the penalty that is chosen.

    By one standard error: of those whose choice is within it of the best mean
    of all, the sparsest. Else, the one whose choice has the best mean; where
    a sparsity is wanted, of those that reach it, if any does.

    Raises:
        ValueError: if no mean is a number.
    """
    sign = 1.0 if more_is_better(monitor) else -1.0
    rows = [row for each in figures.values() for row in each.rows]
    known = [row for row in rows if row.mean == row.mean]
    if not known:
        raise ValueError(
            f"No penalty has a finite {monitor!r} at any strength in all "
            "folds: lower the learning rate, or clip gradients. "
            f"Received: monitor={monitor!r}, with NaN in every row"
        )
    choices = {
        name: each.rows[each.chosen]
        for name, each in figures.items()
        if each.rows[each.chosen].mean == each.rows[each.chosen].mean
    }
    if select == "one_standard_error":
        best = max(known, key=lambda row: sign * row.mean)
        limit = sign * best.mean - best.standard_error
        within = {n: r for n, r in choices.items() if sign * r.mean >= limit}
        return max(
            within,
            key=lambda n: (within[n].sparsity, sign * within[n].mean),
        )
    if not isinstance(select, str):
        reached = {n: r for n, r in choices.items() if r.sparsity >= select}
        choices = reached or choices
    return max(choices, key=lambda n: sign * choices[n].mean)
