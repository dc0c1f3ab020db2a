"""The rows of a deploy report as text."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kreg.deployment._latency import Latency
    from kreg.deployment._report import DeployReport

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
