"""What a deploy report tells, and the forms it is read in."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kreg.deployment._latency import Latency
from kreg.deployment._report_rows import HEADINGS, notes_of, rows_of

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class ModelFigures:
    """What one model costs.

    Args:
        name: the model's name.
        parameters: how many numbers its weights hold, trained or not.
        nonzeros: how many of them are not exactly 0.0.
        flops: operations for one example: twice the multiply-adds of products
            with weights.
        uncounted: the paths of layers that are not in `flops`, though they
            have matrices.
        raw_bytes: of the weights as they are in memory.
        gzip_bytes: of the same through gzip at level 6.
        keras_bytes: of a `.keras` file without kreg and optimizer; None if
            there is none.
        litert_bytes: of a `.tflite` file; None if there is none.
        latency: of one batch, a `Latency`.
        metrics: from the name of each compiled metric to its value on the data;
            empty without data.
    """

    name: str
    parameters: int
    nonzeros: int
    flops: int
    uncounted: tuple[str, ...]
    raw_bytes: int
    gzip_bytes: int
    keras_bytes: int | None
    litert_bytes: int | None
    latency: Latency
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DeployReport:
    """Models before and after, figure by figure.

    `print(report)` prints the table as Markdown, and `rich.print(report)` as a
    table of rich.

    Args:
        before: the `ModelFigures` of one model.
        after: those of the other; None if there is one model alone.
        largest_difference: the largest difference of their outputs, as a
            fraction of the largest size of an entry of the first's; None for
            one model.
        batch_size: how many examples the latency is of.
        runs: how often each model was timed.
    """

    before: ModelFigures
    after: ModelFigures | None
    largest_difference: float | None
    batch_size: int
    runs: int

    @property
    def models(self) -> Sequence[ModelFigures]:
        """The one model, or both."""
        both = (self.before, self.after)
        return [figures for figures in both if figures is not None]

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, fit for JSON."""
        record = asdict(self)
        for figures in (record["before"], record["after"]):
            if figures is not None:
                figures["uncounted"] = list(figures["uncounted"])
        return record

    def to_markdown(self) -> str:
        """The table in Markdown, with its notes below."""
        headings = HEADINGS[: 2 * len(self.models)]
        rows = [headings, *rows_of(self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_line(row, widths) for row in rows]
        bars = [f"{'-' * (width - 1)}:" for width in widths[1:]]
        lines.insert(1, _line(["-" * widths[0], *bars], widths))
        return "\n".join([*lines, "", *notes_of(self)])

    def __str__(self) -> str:
        return self.to_markdown()

    def __rich__(self) -> "Table":
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        names = " and ".join(dict.fromkeys(m.name for m in self.models))
        table = Table(
            title=escape(names),
            caption=escape("\n".join(notes_of(self))),
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1),
        )
        table.add_column("", overflow="fold")
        for heading in HEADINGS[1 : 2 * len(self.models)]:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows_of(self):
            table.add_row(*map(escape, row))
        return table


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    cells = [first.ljust(widths[0])]
    cells += [c.rjust(w) for c, w in zip(others, widths[1:], strict=True)]
    return f"| {' | '.join(cells)} |"
