"""`DeployReport`: the figures of one or two models, and their table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kreg.deployment._costs import Latency
from kreg.results.result import ResultWithRows, SavedResult
from kreg.results.table import Column, Table


@dataclass(frozen=True, repr=False)
class ModelFigures(SavedResult):
    """The costs of one model.

    Args:
        name: the model's name.
        parameters: the number of entries of its weights, trained or not.
        nonzeros: the number of entries that are not exactly 0.0.
        flops: operations for one example: twice the multiply-adds of products
            with weights, and of the two products in attention.
        uncounted: the paths of layers that have matrices but are missing from
            `flops`.
        raw_bytes: the size of the weights in memory.
        gzip_bytes: the size of the same bytes after gzip at level 6.
        keras_bytes: the size of a `.keras` file without kreg and optimizer;
            None if it cannot be written.
        litert_bytes: the size of a `.tflite` file; None if it cannot be
            written.
        latency: the `Latency` of one batch.
        metrics: the value of each compiled metric on the data, by its name;
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

    def headline(self) -> dict[str, Any]:
        """The size of the model."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "nonzeros": self.nonzeros,
            "flops": self.flops,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelFigures":
        """The inverse of `to_dict`."""
        return cls(
            **{
                **values,
                "uncounted": tuple(values["uncounted"]),
                "latency": Latency.from_dict(values["latency"]),
            }
        )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


# The rows of a report: the name, the figure of a model, and its format.
_FIGURES: Sequence[
    tuple[str, Callable[[ModelFigures], Any], Callable[[Any], str]]
] = (
    ("parameters", lambda model: model.parameters, "{:,}".format),
    ("non-zeros", lambda model: model.nonzeros, "{:,}".format),
    ("FLOPs", lambda model: model.flops, "{:,}".format),
    ("bytes of weights", lambda model: model.raw_bytes, "{:,}".format),
    ("the same, gzip", lambda model: model.gzip_bytes, "{:,}".format),
    ("bytes of .keras", lambda model: model.keras_bytes, "{:,}".format),
    ("bytes of LiteRT", lambda model: model.litert_bytes, "{:,}".format),
    ("latency, median", lambda model: model.latency.median, _milliseconds),
    (
        "lower quartile",
        lambda model: model.latency.lower_quartile,
        _milliseconds,
    ),
    (
        "upper quartile",
        lambda model: model.latency.upper_quartile,
        _milliseconds,
    ),
)


@dataclass(frozen=True, repr=False)
class DeployReport(ResultWithRows, SavedResult):
    """Models before and after, figure by figure.

    `print(report)` prints a table, `report.to_markdown()` is the same in
    Markdown.

    Args:
        before: the `ModelFigures` of the first model.
        after: the `ModelFigures` of the second; None if there is only one.
        largest_difference: the largest difference of their outputs, as a
            fraction of the largest absolute output of the first; None for one
            model.
        batch_size: the number of examples for the latency.
        runs: the number of timed runs of each model.
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
        return [model for model in both if model is not None]

    def headline(self) -> dict[str, Any]:
        """The parameters of each model, and how far their outputs differ."""
        if self.after is None:
            return {"parameters": self.before.parameters}
        return {
            "parameters_before": self.before.parameters,
            "parameters_after": self.after.parameters,
            "largest_difference": self.largest_difference,
        }

    def table(self) -> Table:
        """A row for each figure, with the ratio if there are two models."""
        headings = ("before", "after", "after / before")
        several = self.after is not None
        columns = [
            Column("", "text"),
            *map(Column, headings if several else headings[:1]),
        ]
        rows = [
            [name, *map(show, values), *([_ratio(values)] if several else [])]
            for name, values, show in self._rows()
        ]
        if self.largest_difference is not None:
            difference = f"{self.largest_difference:.2g}"
            rows.append(["output difference", "", difference, ""])
        names = " and ".join(dict.fromkeys(model.name for model in self.models))
        return Table(columns, rows, title=names, notes=self._notes())

    def records(self) -> list[dict[str, Any]]:
        """Each figure of each model, as numbers."""
        headings = ("before", "after")
        records = [
            {"figure": name, **dict(zip(headings, values, strict=False))}
            for name, values, _ in self._rows()
        ]
        if self.largest_difference is not None:
            records.append(
                {
                    "figure": "output difference",
                    "before": None,
                    "after": self.largest_difference,
                }
            )
        return records

    def to_markdown(self) -> str:
        """The table in Markdown, with its notes below."""
        return self.table().to_markdown()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DeployReport":
        """The inverse of `to_dict`."""
        after = values["after"]
        return cls(
            **{
                **values,
                "before": ModelFigures.from_dict(values["before"]),
                "after": None
                if after is None
                else ModelFigures.from_dict(after),
            }
        )

    def _rows(self) -> Iterator[tuple[str, list[Any], Callable[[Any], str]]]:
        """The name of each figure, its value for each model, and its format."""
        for name, value, show in _FIGURES:
            yield name, [value(model) for model in self.models], _or_dash(show)
        for name in self.before.metrics:
            values = [model.metrics[name] for model in self.models]
            yield name, values, _or_dash("{:.4g}".format)

    def _notes(self) -> list[str]:
        """How the figures were measured."""
        notes = [
            f"Latency: predict_on_batch, median of {self.runs} runs in turns, "
            f"batch size {self.batch_size}, the backend's own threads.",
            "FLOPs: twice the multiply-adds with weights and in attention, for "
            "one example; zeros count.",
        ]
        uncounted = dict.fromkeys(p for m in self.models for p in m.uncounted)
        if uncounted:
            notes.append(f"Not in the FLOPs: {', '.join(uncounted)}.")
        return notes


def _or_dash(show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "-" if value is None else show(value)


def _ratio(values: Sequence[Any]) -> str:
    before, after = values
    return f"{after / before:.3g}" if before and after is not None else ""
