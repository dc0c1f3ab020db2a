"""Computes the rows, choices and verdict of a comparison from its paths."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.selection.comparison.choice import (
    Select,
    chosen_index,
    held_out_scores,
    standard_errors,
)
from kreg.selection.comparison.penalties import figures_of_weights, penalty_text
from kreg.selection.comparison.result import CompareResult, CompareRow
from kreg.selection.comparison.run import ComparisonRun
from kreg.selection.comparison.verdict import (
    Comparison,
    compared_text,
    comparisons_of,
)
from kreg.selection.execution.execution import shown_progress
from kreg.selection.paths.result import PathResult
from kreg.selection.strengths.grid import StrengthGrid, Unpenalized
from kreg.selection.training.point import PathPoint
from kreg.selection.training.stopping import more_is_better


@dataclass(frozen=True)
class PenaltyFigures:
    """The rows of one penalty, and its chosen strength.

    Args:
        rows: a row for each strength, in the order of the paths.
        chosen: the index of the chosen row.
        held_out: the score of every fold at the strength that the other folds
            choose.
        points: the number of points on a path up to the chosen strength.
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
        name: the name of the penalty.
        paths: the paths of the penalty, ordered by seed, then by fold.
        seeds: the number of seeds.
        monitor: the metric by which strengths are compared.
        select: the rule for choosing a strength.
    """
    table = [path.points for path in paths]
    strengths = [point.strength for point in table[0]]

    def figures(figure_of: Callable[[PathPoint], float]) -> NDArray[Any]:
        values = [[figure_of(point) for point in points] for points in table]
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
    """The figures without a penalty: one row, for the best number of portions.

    The points of these paths are portions of one training, as `Unpenalized`
    describes.

    Args:
        name, paths, seeds, monitor: as for `penalty_figures`.
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
    """The name of the chosen penalty.

    Penalties are compared at their chosen strengths. The rule of one standard
    error takes the sparsest penalty whose mean is within one standard error of
    the best. The other rules take the penalty with the best mean; with a
    sparsity, among those that reach it, unless none does.

    Raises:
        ValueError: if no mean is a number.
    """
    sign = 1.0 if more_is_better(monitor) else -1.0
    rows = [row for each in figures.values() for row in each.rows]
    finite = [row for row in rows if row.mean == row.mean]
    if not finite:
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
        best = max(finite, key=lambda row: sign * row.mean)
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


def finished_comparison(
    run: ComparisonRun, select: Select, test: Any
) -> CompareResult:
    """Run all paths, choose, train the choice on all rows, and test it once.

    Args:
        run: the comparison.
        select: the rule for choosing.
        test: the test data, used only at the end; None for no test.
    """
    monitor = run.training.monitor
    unresolved = sum(grid.values is None for grid in run.strengths.values())
    number = unresolved + run.number_of_fold_paths + 1
    with shown_progress("paths", number, run.execution.verbose) as show:
        grids = run.grids(show)
        paths = run.fold_paths(grids, show)
        seeds = len(run.folds)
        figures = {
            name: unpenalized_figures(name, its_paths, seeds, monitor)
            if run.penalties[name] is None
            else penalty_figures(name, its_paths, seeds, monitor, select)
            for name, its_paths in paths.items()
        }
        name = chosen_penalty(figures, monitor, select)
        chosen = figures[name]
        weights = run.refit(name, _grid_to_choice(grids[name], chosen), show)
    row = chosen.rows[chosen.chosen]
    tested = None
    if test is not None:
        tested = figures_of_weights(
            run.build_model,
            run.penalties[name],
            row.strength,
            weights,
            test,
            run.first_seed,
        )
    comparisons = comparisons_of(
        {penalty: each.held_out for penalty, each in figures.items()},
        run.validation_ratio,
    )
    return CompareResult(
        rows=tuple(row for each in figures.values() for row in each.rows),
        penalties={n: penalty_text(p) for n, p in run.penalties.items()},
        monitor=monitor,
        select=select,
        folds=run.number_of_fold_paths // len(run.folds) // len(run.penalties),
        seeds=tuple(run.folds),
        choices=_choices(figures),
        chosen_penalty=name,
        comparisons=comparisons,
        verdict=_verdict(row, monitor, select, comparisons, tested),
        test=tested,
        weights=weights,
    )


def _grid_to_choice(
    grid: StrengthGrid | Unpenalized, figures: PenaltyFigures
) -> StrengthGrid | Unpenalized:
    """The strengths of a path that ends at the chosen strength."""
    if isinstance(grid, Unpenalized):
        return replace(grid, portions=figures.points)
    strengths = [row.strength for row in figures.rows[: figures.points]]
    return StrengthGrid(values=strengths, direction=grid.direction)


def _choices(figures: Mapping[str, PenaltyFigures]) -> dict[str, int]:
    """The index of each choice among the rows of all penalties."""
    choices, rows_before = {}, 0
    for name, each in figures.items():
        choices[name] = rows_before + each.chosen
        rows_before += len(each.rows)
    return choices


def _verdict(
    row: CompareRow,
    monitor: str,
    select: Select,
    comparisons: tuple[Comparison, ...],
    tested: Mapping[str, float] | None,
) -> str:
    texts = [
        f"{row.penalty} at strength {row.strength:.4g}: {monitor} "
        f"{row.mean:.4g} (standard error {row.standard_error:.2g}), "
        f"{row.sparsity:.1%} of the penalized weights zero."
    ]
    if not isinstance(select, str) and row.sparsity < select:
        texts.append(f"No choice reaches {select:.1%}.")
    if comparisons:
        better = more_is_better(monitor)
        texts.append(compared_text(row.penalty, comparisons, better))
    if tested is not None:
        texts.append(f"On the test data: {monitor} {tested[monitor]:.4g}.")
    return " ".join(texts)
