"""`CompareResult`: the rows, choices, table and files of a comparison."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from kreg._arguments import local_path, one_of
from kreg.results.files import Weights, load_result, save_result
from kreg.results.result import ResultWithRows, SavedResult
from kreg.results.table import Column, Table, chosen_console
from kreg.selection.comparison.hparams import write_trial
from kreg.selection.comparison.verdict import Comparison
from kreg.selection.training.stopping import more_is_better


@dataclass(frozen=True, repr=False)
class CompareRow(SavedResult):
    """One penalty at one strength, averaged over the folds.

    Args:
        penalty: the name of the penalty.
        strength: the strength.
        mean: the mean over folds of the monitored metric on the held-out rows.
        standard_error: the standard error of `mean`; more seeds do not lower
            it.
        scores: the metric of each fold, ordered by seed.
        train_mean: the mean over folds of the metric on the training rows.
        sparsity: the mean fraction of the penalized weights that are 0.0.
        nonzeros: the mean number of penalized weights that are not 0.0.
        dead_units: the mean number of dead output channels.
        epochs: the mean number of passes over the training data at this
            strength; without a penalty, the passes of the whole training.
        seconds: the training time at this strength, summed over folds.
    """

    penalty: str
    strength: float
    mean: float
    standard_error: float
    scores: tuple[float, ...]
    train_mean: float
    sparsity: float
    nonzeros: float
    dead_units: float
    epochs: float
    seconds: float

    def headline(self) -> dict[str, Any]:
        """The penalty, its strength and the mean of the folds."""
        return {
            "penalty": self.penalty,
            "strength": self.strength,
            "mean": self.mean,
            "standard_error": self.standard_error,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CompareRow":
        """The inverse of `to_dict`."""
        scores = tuple(float(score) for score in values["scores"])
        return cls(**{**values, "scores": scores})


@dataclass(frozen=True, repr=False)
class CompareResult(ResultWithRows, SavedResult):
    """The figures, the choice and the verdict of `kreg.compare`.

    `str` returns a short table of the choices, `print` prints it on a console,
    and `to_pandas` returns all rows.

    Args:
        rows: a row for each penalty and strength, in the order in which they
            were run.
        penalties: a description of each penalty, by its name.
        monitor: the name of the metric by which penalties are compared.
        select: the rule for choosing strengths.
        folds: the number of folds for each seed.
        seeds: the seeds.
        choices: the index in `rows` of the choice of each penalty, by name.
        chosen_penalty: the name of the chosen penalty.
        comparisons: a `kreg.selection.Comparison` for each pair of penalties.
        verdict: the outcome in words.
        test: each metric of the chosen model on the test data, including
            `"data_loss"`; None without test data.
        weights: the weights of the chosen model, trained on all training data.
            To use them: `model = build_model()`, then
            `model.set_weights(result.weights)`.
    """

    rows: tuple[CompareRow, ...]
    penalties: Mapping[str, str]
    monitor: str
    select: str | float
    folds: int
    seeds: tuple[int, ...]
    choices: Mapping[str, int]
    chosen_penalty: str
    comparisons: tuple[Comparison, ...]
    verdict: str
    test: Mapping[str, float] | None = None
    weights: Weights | None = field(default=None, repr=False, compare=False)

    @property
    def chosen(self) -> CompareRow:
        """The row of the chosen penalty and strength."""
        return self.rows[self.choices[self.chosen_penalty]]

    def best(self, penalty: str | None = None) -> CompareRow:
        """The row with the best mean.

        Args:
            penalty: the name of a penalty. Defaults to `None`: all penalties.
        """
        sign = 1.0 if more_is_better(self.monitor) else -1.0
        rows = self.rows if penalty is None else self.rows_of(penalty)
        finite = [row for row in rows if row.mean == row.mean]
        return max(finite, key=lambda row: (sign * row.mean, row.strength))

    def rows_of(self, penalty: str) -> tuple[CompareRow, ...]:
        """The rows of a penalty.

        Raises:
            ValueError: if there is no such penalty.
        """
        one_of("penalty", penalty, self.penalties)
        return tuple(row for row in self.rows if row.penalty == penalty)

    def print(self, *, console: Console | None = None) -> None:
        """Print the choice of each penalty as a table, and the verdict.

        Args:
            console: the `rich.console.Console` to print on. Defaults to
                `None`: a new one on standard output.
        """
        chosen_console(console).print(self)

    def headline(self) -> dict[str, Any]:
        """The choice and its mean."""
        return {
            "rows": len(self.rows),
            "chosen_penalty": self.chosen_penalty,
            "strength": self.chosen.strength,
            self.monitor: self.chosen.mean,
        }

    def table(self) -> Table:
        """A row for the choice of each penalty, and the verdict below."""
        paths = self.folds * len(self.seeds)
        columns = (
            Column("penalty", "name"),
            Column("strength"),
            Column("mean"),
            Column("std.\nerror", rank=1),
            Column("best\nmean", rank=3),
            Column("zeros", rank=2),
            Column(f"difference from\n{self.chosen_penalty}, CI (Holm)"),
            Column("p\n(Holm)", rank=4),
        )
        rows = []
        for name, index in self.choices.items():
            row = self.rows[index]
            is_chosen = name == self.chosen_penalty
            cells = (
                name,
                f"{row.strength:.3g}",
                f"{row.mean:.4g}",
                f"{row.standard_error:.2g}",
                f"{self.best(name).mean:.4g}",
                f"{row.sparsity:.1%}",
            )
            difference = ("", "") if is_chosen else _difference(self, name)
            rows.append((*cells, *difference))
        return Table(
            columns,
            rows,
            title=f"{self.monitor} of what {paths} folds left out",
            notes=[self.verdict] if self.verdict else [],
            chosen=list(self.choices).index(self.chosen_penalty),
        )

    def records(self) -> list[dict[str, Any]]:
        """The fields of every row, for each penalty and strength."""
        return [row.to_dict() for row in self.rows]

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], weights: Weights | None = None
    ) -> "CompareResult":
        """The inverse of `to_dict`, with weights."""
        return cls(
            **{
                **values,
                "rows": tuple(map(CompareRow.from_dict, values["rows"])),
                "seeds": tuple(values["seeds"]),
                "comparisons": tuple(
                    Comparison(**pair) for pair in values["comparisons"]
                ),
            },
            weights=weights,
        )

    def save(self, path: str | Path) -> None:
        """Write the result as JSON, and the weights in an `.npz` beside it.

        Args:
            path: str or path of the JSON file, replaced if it exists.
        """
        weights = None if self.weights is None else [self.weights]
        save_result(path, self.to_dict(), weights)

    @classmethod
    def load(cls, path: str | Path) -> "CompareResult":
        """Read a result that `save` has written."""
        values, weights = load_result(path)
        return cls.from_dict(values, weights[0] if weights else None)

    def write_hparams(self, log_dir: str | os.PathLike[str]) -> None:
        """Write a trial of TensorBoard's HParams page for each row.

        The hyperparameters are `penalty` and `strength`. The metrics are
        `kreg_compare/validation`, `kreg_compare/standard_error`,
        `kreg_compare/train` and `kreg_compare/sparsity`, means over folds at
        step 0.

        Args:
            log_dir: str or path of the folder of a TensorBoard log; each trial
                gets a folder in it.

        Raises:
            TypeError: if `log_dir` is not a path.
            ValueError: if `log_dir` is not on this machine.
            OSError: if a trial cannot be written.
            ImportError: if TensorBoard is not installed.
        """
        folder = local_path("log_dir", log_dir)
        for row in self.rows:
            figures = {
                "validation": row.mean,
                "standard_error": row.standard_error,
                "train": row.train_mean,
                "sparsity": row.sparsity,
            }
            write_trial(folder, row.penalty, row.strength, figures)


def _difference(result: "CompareResult", name: str) -> tuple[str, str]:
    """The table cells for the difference of a penalty from the chosen one."""
    for pair in result.comparisons:
        if {pair.first, pair.second} == {name, result.chosen_penalty}:
            return _signed_texts(pair, 1.0 if pair.first == name else -1.0)
    return "", ""


def _signed_texts(pair: Comparison, sign: float) -> tuple[str, str]:
    """The difference with its interval, and the adjusted p-value."""
    if math.isnan(pair.difference):
        return "not known", ""
    difference = sign * pair.difference
    low, high = sorted((sign * pair.low, sign * pair.high))
    half = (high - low) / 2
    if half == 0.0:
        return f"{difference:+.3g}", f"{pair.adjusted_p_value:.2g}"
    if not 1e-6 < half < 1e6:
        text = f"{difference:+.2g} [{low:+.2g}, {high:+.2g}]"
    else:
        # Enough decimals to show two digits of half the interval's width.
        decimals = max(0, 1 - math.floor(math.log10(half)))
        text = (
            f"{difference:+.{decimals}f} "
            f"[{low:+.{decimals}f}, {high:+.{decimals}f}]"
        )
    return text, f"{pair.adjusted_p_value:.2g}"
