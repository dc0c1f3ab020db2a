"""What a comparison of penalties came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kreg.selection._compare_row import CompareRow
from kreg.selection._compare_table import compare_table
from kreg.selection._path_result import more_is_better
from kreg.selection._result_files import (
    Weights,
    data_frame,
    load_result,
    save_result,
)
from kreg.selection._verdict import Comparison

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class CompareResult:
    """The figures, the choice and the verdict of `kreg.compare`.

    `str` gives a short table, `print` the same in colours, `to_dict` plain
    values.

    Args:
        rows: one for each penalty and strength, in the order in which they
            were run.
        penalties: what each penalty is, as text, by its name.
        monitor: the name of the metric by which they are compared.
        select: the rule that chooses strengths.
        folds: how many folds there are for each seed.
        seeds: the seeds.
        choices: the index in `rows` of the choice of each penalty, by name.
        chosen_penalty: the name of the penalty that is chosen.
        comparisons: every two penalties, fold by fold.
        verdict: the outcome in words.
        test: each metric of the chosen model on the test data, `"data_loss"`
            among them; None without test data.
        weights: what `get_weights()` gave of the chosen model, trained on all
            training data: `model = build_model()`, then
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
        """The row of the penalty and the strength that are chosen."""
        return self.rows[self.choices[self.chosen_penalty]]

    def best(self, penalty: str | None = None) -> CompareRow:
        """The row with the best mean.

        Args:
            penalty: the name of a penalty. Defaults to `None`: of all.
        """
        sign = 1.0 if more_is_better(self.monitor) else -1.0
        rows = self.rows if penalty is None else self.rows_of(penalty)
        known = [row for row in rows if row.mean == row.mean]
        return max(known, key=lambda row: (sign * row.mean, row.strength))

    def rows_of(self, penalty: str) -> tuple[CompareRow, ...]:
        """The rows of a penalty.

        Raises:
            ValueError: if there is no such penalty.
        """
        if penalty not in self.penalties:
            raise ValueError(
                f"`penalty` must be one of {list(self.penalties)}. "
                f"Received: penalty={penalty!r}"
            )
        return tuple(row for row in self.rows if row.penalty == penalty)

    def print(self, *, console: "Console | None" = None) -> None:
        """Print the choice of each penalty as a table, and the verdict.

        Args:
            console: the `rich.console.Console` to print on. Defaults to
                `None`: a new one on standard output.
        """
        from rich.console import Console
        from rich.markup import escape

        console = console or Console()
        console.print(compare_table(self))
        console.print(escape(self.verdict))

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            self.print(console=console)
        return captured.get().rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, ready for JSON; no weights."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "penalties": dict(self.penalties),
            "monitor": self.monitor,
            "select": self.select,
            "folds": self.folds,
            "seeds": list(self.seeds),
            "choices": dict(self.choices),
            "chosen_penalty": self.chosen_penalty,
            "comparisons": [pair.to_dict() for pair in self.comparisons],
            "verdict": self.verdict,
            "test": None if self.test is None else dict(self.test),
        }

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], weights: Weights | None = None
    ) -> "CompareResult":
        """The result that `to_dict` made `values` of."""
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
            path: str or path of the JSON file; replaced if it is there.
        """
        weights = None if self.weights is None else [self.weights]
        save_result(path, self.to_dict(), weights)

    @classmethod
    def load(cls, path: str | Path) -> "CompareResult":
        """Read what `save` wrote."""
        values, weights = load_result(path)
        return cls.from_dict(values, weights[0] if weights else None)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each penalty and strength.

        Raises:
            ImportError: if pandas is not installed.
        """
        return data_frame([row.to_dict() for row in self.rows])
