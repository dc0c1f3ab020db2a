"""The results of `read`: figures of a weight, of a layer and of a model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from kreg.results.result import ResultWithRows, SavedResult
from kreg.results.table import Column, Table
from kreg.statistics.figures import FIGURES, Figure, Figures, with_figures
from kreg.statistics.tie_reading import TieReading


@with_figures
@dataclass(frozen=True, repr=False)
class WeightReading(Figures, SavedResult):
    """The figures of one weight at one moment.

    A figure that does not apply to the weight, or is unknown, is None.

    Args:
        path: the weight's path, such as `"dense/kernel"`.
        layer: the path of its layer.
        weight: the name of the weight, the last part of its path.
        shape: the shape of the weight.
        trainable: whether the weight can be trained.
        regularizer: the class name of the regularizer; None without one.
        strengths: the present strengths of the regularizer, by name; empty if
            none are known.
        units: the number of output channels; None if there are none.
        inputs: the number of input channels; None if there are none.
        step: the iteration of the optimizer that updates the weight, at which
            its schedule is read.
        values: the figures without a formula, by name.
        tie: the path of the tie that the weight is in; None if its penalty is
            on this weight alone. The penalty of a tie is spread over its
            weights in proportion to their squared L2 norms.
    """

    path: str
    layer: str
    weight: str
    shape: tuple[int, ...]
    trainable: bool
    regularizer: str | None
    strengths: Mapping[str, float]
    units: int | None
    inputs: int | None
    step: int
    values: Mapping[str, Any]
    tie: str | None = None

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        return self.values[figure.name]

    def headline(self) -> dict[str, Any]:
        """The weight, its zeros and its norm."""
        return {
            "path": self.path,
            "size": self.size,
            "sparsity": self.sparsity,
            "l2_norm": self.l2_norm,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        return {
            "path": self.path,
            "layer": self.layer,
            "weight": self.weight,
            "shape": list(self.shape),
            "trainable": self.trainable,
            "regularizer": self.regularizer,
            "strengths": dict(self.strengths),
            "units": self.units,
            "inputs": self.inputs,
            "step": self.step,
            "tie": self.tie,
            **{figure.name: getattr(self, figure.name) for figure in FIGURES},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WeightReading":
        """The inverse of `to_dict`.

        Files of earlier versions lack `step` and `tie`. Figures that they lack
        are NaN.
        """
        values = {"step": 0, "tie": None, **values}
        named = {
            field.name: values[field.name]
            for field in fields(cls)
            if field.name != "values"
        }
        measured = {
            figure.name: values.get(figure.name, math.nan)
            for figure in FIGURES
            if figure.formula is None
        }
        shape = tuple(values["shape"])
        return cls(**{**named, "shape": shape, "values": measured})


def _strength(weight: WeightReading) -> str:
    if weight.regularizer is None:
        return ""
    if weight.tie is not None and weight.trainable:
        return f"{weight.regularizer} (tied)"
    values = _numbers(weight.strengths)
    frozen = "" if weight.trainable else " (frozen)"
    return f"{weight.regularizer} {values}{frozen}".rstrip()


def _numbers(strengths: Mapping[str, float]) -> str:
    return " ".join(f"{value:.3g}" for value in strengths.values())


def _part(count: int | None, total: int | None) -> str:
    return "" if count is None else f"{count:,}/{total:,}"


class Totals(Figures, ResultWithRows):
    """The figures of several weights together."""

    weights: tuple[WeightReading, ...]
    ties: tuple[TieReading, ...] = ()

    def table(self) -> Table:
        """A row for each weight and each tie, and the totals."""
        has_steps = len({weight.step for weight in self.weights}) > 1
        columns = (
            Column("weight", "name", total="total"),
            *([Column("step")] if has_steps else ()),
            Column("strength", "text"),
            Column("penalty", rank=2, total=f"{self.penalty:.3g}"),
            Column("L1\nnorm", rank=3, total=f"{self.l1_norm:.3g}"),
            Column("L2\nnorm", rank=1, total=f"{self.l2_norm:.3g}"),
            Column("sparsity", total=f"{self.sparsity:.1%}"),
            Column("dead\nunits", rank=1, total=f"{self.dead_units:,}"),
            Column("dead\ninputs", rank=4, total=f"{self.dead_inputs:,}"),
        )
        rows = [
            (
                weight.path,
                *([f"{weight.step:,}"] if has_steps else ()),
                _strength(weight),
                f"{weight.penalty:.3g}"
                if weight.regularizer and weight.tie is None
                else "",
                f"{weight.l1_norm:.3g}",
                f"{weight.l2_norm:.3g}",
                f"{weight.sparsity:.1%}",
                _part(weight.dead_units, weight.units),
                _part(weight.dead_inputs, weight.inputs),
            )
            for weight in self.weights
        ]
        rows += [
            (
                tie.path,
                *([f"{tie.step:,}"] if has_steps else ()),
                f"{tie.regularizer} {_numbers(tie.strengths)}",
                f"{tie.penalty:.3g}",
                f"{tie.l1_norm:.3g}",
                f"{tie.l2_norm:.3g}",
                f"{tie.sparsity:.1%}",
                _part(tie.dead_units, tie.units),
                "",
            )
            for tie in self.ties
        ]
        return Table(columns, rows)

    def records(self) -> list[dict[str, Any]]:
        """The figures of each weight."""
        return [weight.to_dict() for weight in self.weights]

    # For several weights these are never None: they are 0 without units.
    dead_units: int
    dead_inputs: int

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        return figure.together(
            [
                weight.value_of(figure)
                for weight in self.weights
                if weight.trainable or not figure.trained_only
            ]
        )


@with_figures
@dataclass(frozen=True, repr=False)
class LayerReading(Totals):
    """The figures of all weights of one layer together.

    Args:
        path: the path of the layer.
        weights: one reading for each of its weights.
        values: the figures measured for the layer as a whole, by name:
            `dead_units`, the number of output channels whose incoming weights
            are zero in all of the layer's kernels.
    """

    path: str
    weights: tuple[WeightReading, ...]
    values: Mapping[str, Any]

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        if figure.by_layer:
            return self.values[figure.name]
        return super().value_of(figure)

    def headline(self) -> dict[str, Any]:
        """The layer, its zeros and its dead units."""
        return {
            "path": self.path,
            "weights": len(self.weights),
            "sparsity": self.sparsity,
            "dead_units": self.dead_units,
        }


@with_figures
@dataclass(frozen=True, repr=False)
class Reading(Totals, SavedResult):
    """The figures of all weights of a model at one moment.

    Args:
        step: the optimizer iteration; 0 for a model that is not compiled.
        data_loss: the loss without penalties; None if it was not given.
        weights: one reading for each weight, in the order of the layers.
        layers: one reading for each layer with weights.
        ties: one reading for each tie across weights.
    """

    step: int
    data_loss: float | None
    weights: tuple[WeightReading, ...]
    layers: tuple[LayerReading, ...]
    ties: tuple[TieReading, ...] = ()

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        if figure.by_layer:
            return figure.together([r.value_of(figure) for r in self.layers])
        return super().value_of(figure)

    def headline(self) -> dict[str, Any]:
        """The step, the zeros and the penalty of the model."""
        return {
            "step": self.step,
            "weights": len(self.weights),
            "sparsity": self.sparsity,
            "penalty": self.penalty,
        }

    def table(self) -> Table:
        """A row for each weight, and the totals."""
        return replace(super().table(), title=f"step {self.step:,}")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, ready for JSON."""
        return {
            "step": self.step,
            "data_loss": self.data_loss,
            "dead_units": self.dead_units,
            "weights": self.records(),
            "layers": [
                {
                    "path": layer.path,
                    "dead_units": layer.dead_units,
                    "weights": [weight.path for weight in layer.weights],
                }
                for layer in self.layers
            ],
            "ties": [tie.to_dict() for tie in self.ties],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Reading":
        """The inverse of `to_dict`."""
        weights = {
            weight["path"]: WeightReading.from_dict(weight)
            for weight in values["weights"]
        }
        layers = tuple(
            LayerReading(
                layer["path"],
                tuple(weights[path] for path in layer["weights"]),
                {"dead_units": layer["dead_units"]},
            )
            for layer in values["layers"]
        )
        ties = map(TieReading.from_dict, values.get("ties", ()))
        return cls(
            values["step"],
            values["data_loss"],
            tuple(weights.values()),
            layers,
            tuple(ties),
        )
