"""What one reading of a model's weights says, as a frozen table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kreg.statistics.figures import FIGURES, Figure, Figures, with_figures


@with_figures
@dataclass(frozen=True)
class WeightReading(Figures):
    """One weight at one moment.

    A figure that does not apply, or cannot be told, is None.

    Args:
        path: the weight's path, such as `"dense/kernel"`.
        layer: the path of its layer.
        weight: its own name, the last part of its path.
        shape: its shape.
        trainable: whether it is.
        regularizer: the class of its regularizer; None without one.
        strengths: the strengths of that now, by name; empty for a regularizer
            that names none.
        units: the number of output channels; None where there are none.
        inputs: the number of input channels; None where there are none.
        values: the figures without a formula, by name.
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
    values: Mapping[str, Any]

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        return self.values[figure.name]

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
            **{figure.name: getattr(self, figure.name) for figure in FIGURES},
        }


class Totals(Figures):
    """The figures of several weights together."""

    weights: tuple[WeightReading, ...]

    # Of several weights these are counts in any case, 0 where none has any.
    dead_units: int
    dead_inputs: int

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        return figure.together(
            [
                weight.value_of(figure)
                for weight in self.weights
                if weight.trainable or not figure.of_trained
            ]
        )


@with_figures
@dataclass(frozen=True)
class LayerReading(Totals):
    """The weights that one layer made, together.

    Args:
        path: the path of the layer.
        weights: one reading for each of its weights.
        values: the figures that are measured of the layer as a whole, by name:
            `dead_units`, of the output channels without an incoming weight
            that is not 0 in any of its kernels.
    """

    path: str
    weights: tuple[WeightReading, ...]
    values: Mapping[str, Any]

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        if figure.by_layer:
            return self.values[figure.name]
        return super().value_of(figure)


@with_figures
@dataclass(frozen=True)
class Reading(Totals):
    """All weights of a model at one moment.

    Args:
        step: the optimizer iteration; 0 for a model that is not compiled.
        data_loss: the loss without penalties, where it was given.
        weights: one reading for each weight, in the order of the layers.
        layers: one for each layer with weights, of its weights together.
    """

    step: int
    data_loss: float | None
    weights: tuple[WeightReading, ...]
    layers: tuple[LayerReading, ...]

    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""
        if figure.by_layer:
            return figure.together([r.value_of(figure) for r in self.layers])
        return super().value_of(figure)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, ready for JSON."""
        return {
            "step": self.step,
            "data_loss": self.data_loss,
            "dead_units": self.dead_units,
            "weights": [weight.to_dict() for weight in self.weights],
        }
