"""From the paths of a comparison to its result."""

from collections.abc import Mapping
from typing import Any

from kreg.selection._choice import Select
from kreg.selection._compare_figures import (
    PenaltyFigures,
    chosen_penalty,
    penalty_figures,
    unpenalized_figures,
)
from kreg.selection._compare_progress import shown_paths
from kreg.selection._compare_result import CompareResult
from kreg.selection._compare_row import CompareRow
from kreg.selection._compared_penalties import penalty_text
from kreg.selection._comparison_run import ComparisonRun
from kreg.selection._path_result import more_is_better
from kreg.selection._trial_models import figures_of_weights
from kreg.selection._unpenalized import Unpenalized
from kreg.selection._verdict import (
    Comparison,
    compared_text,
    comparisons_of,
)


def finished_comparison(
    run: ComparisonRun,
    given: Mapping[str, list[float] | None],
    select: Select,
    test: Any,
    verbose: int,
) -> CompareResult:
    """Run all paths, choose, train the chosen on all rows, and test it once.

    Args:
        run: what is compared.
        given: the strengths by name; None for a grid that is to be found.
        select: the rule that chooses.
        test: what to test on; nothing before the end sees it.
        verbose: whether to show progress.
    """
    monitor = run.options["monitor"]
    unknown = sum(strengths is None for strengths in given.values())
    with shown_paths(run.number_of_folds + unknown + 1, verbose) as ended:
        grids = run.grids(given, ended)
        paths = run.fold_paths(grids, ended)
        seeds = len(run.folds)
        figures = {
            name: unpenalized_figures(name, of_name, seeds, monitor)
            if run.penalties[name] is None
            else penalty_figures(name, of_name, seeds, monitor, select)
            for name, of_name in paths.items()
        }
        name = chosen_penalty(figures, monitor, select)
        chosen = figures[name]
        weights = run.refit(name, _up_to(grids[name], chosen), ended)
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
        {each: of_name.held_out for each, of_name in figures.items()},
        run.validation_share,
    )
    return CompareResult(
        rows=tuple(row for each in figures.values() for row in each.rows),
        penalties={n: penalty_text(p) for n, p in run.penalties.items()},
        monitor=monitor,
        select=select,
        folds=run.number_of_folds // len(run.folds) // len(run.penalties),
        seeds=tuple(run.folds),
        choices=_choices(figures),
        chosen_penalty=name,
        comparisons=comparisons,
        verdict=_verdict(row, monitor, select, comparisons, tested),
        test=tested,
        weights=weights,
    )


def _up_to(strengths: Any, figures: PenaltyFigures) -> Any:
    """The strengths of a path that ends at the choice."""
    if isinstance(strengths, Unpenalized):
        return strengths.up_to(figures.points)
    return [row.strength for row in figures.rows[: figures.points]]


def _choices(figures: Mapping[str, PenaltyFigures]) -> dict[str, int]:
    """The index of each choice among the rows of all."""
    found, before = {}, 0
    for name, of_name in figures.items():
        found[name] = before + of_name.chosen
        before += len(of_name.rows)
    return found


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
