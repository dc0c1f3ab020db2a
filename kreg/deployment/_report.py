"""What a deploy report tells, and the forms it is read in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from kreg.deployment._costs import Latency

HEADINGS = ["", "before", "after", "after / before"]


def rows_of(report: "DeployReport") -> Iterator[list[str]]:
    """One row a figure: its name, one value a model, and of two the ratio."""
    models = report.models
    for name, value, shown in _FIGURES:
        yield _row(name, [value(figures) for figures in models], shown)
    texts = [_middle_half(figures.latency) for figures in models]
    yield ["latency, middle half", *texts, *[""] * (len(models) - 1)]
    for name in report.before.metrics:
        values = [figures.metrics[name] for figures in models]
        yield _row(name, values, "{:.4g}".format)
    if report.largest_difference is not None:
        yield [
            "output difference",
            "",
            f"{report.largest_difference:.2g}",
            "",
        ]


def notes_of(report: "DeployReport") -> list[str]:
    """What the figures are of."""
    notes = [
        f"Latency: predict_on_batch, median of {report.runs} runs in turns, "
        f"batch size {report.batch_size}, the backend's own threads.",
        "FLOPs: twice the multiply-adds with weights, for one example; zeros "
        "count.",
    ]
    uncounted = sorted({p for m in report.models for p in m.uncounted})
    if uncounted:
        notes.append(f"Not in the FLOPs: {', '.join(uncounted)}.")
    return notes


def _row(
    name: str, values: list[Any], shown: Callable[[Any], str]
) -> list[str]:
    texts = ["-" if value is None else shown(value) for value in values]
    if len(values) == 1:
        return [name, *texts]
    before, after = values
    known = before and after is not None
    return [name, *texts, f"{after / before:.3g}" if known else ""]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _middle_half(latency: "Latency") -> str:
    lower, upper = latency.lower_quartile, latency.upper_quartile
    return f"{1000 * lower:.3g} to {_milliseconds(upper)}"


_FIGURES: list[tuple[str, Callable[[Any], Any], Callable[[Any], str]]] = [
    ("parameters", lambda figures: figures.parameters, "{:,}".format),
    ("non-zeros", lambda figures: figures.nonzeros, "{:,}".format),
    ("FLOPs", lambda figures: figures.flops, "{:,}".format),
    ("bytes of weights", lambda figures: figures.raw_bytes, "{:,}".format),
    ("the same, gzip", lambda figures: figures.gzip_bytes, "{:,}".format),
    ("bytes of .keras", lambda figures: figures.keras_bytes, "{:,}".format),
    ("bytes of LiteRT", lambda figures: figures.litert_bytes, "{:,}".format),
    ("latency", lambda figures: figures.latency.median, _milliseconds),
]


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
