"""What one reading of a model's weights says, as a frozen table."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from kreg.results.result import ResultWithRows, SavedResult
from kreg.results.table import Column, Table


@dataclass(frozen=True, repr=False)
class WeightReading(SavedResult):
    """One weight at one moment.

    Args:
        path: the weight's path, such as `"dense/kernel"`.
        layer: the path of its layer.
        weight: its own name, the last part of its path.
        shape: its shape.
        size: the number of its entries.
        trainable: whether it is.
        regularizer: the class of its regularizer; None without one.
        strengths: the strengths of that now, by name; empty for a regularizer
            that names none.
        penalty: what it adds to the loss now; 0 for a frozen weight.
        penalty_share: the penalty as a fraction of the whole loss; None where
            the data loss is not known.
        l1_norm: `sum(abs(w))`.
        l2_norm: `sqrt(sum(w ** 2))`.
        max_norm: `max(abs(w))`.
        zeros: how many entries are exactly 0.0.
        near_zeros: how many are at most the threshold in size; zeros too.
        units: the number of output channels; None where there are none.
        dead_units: how many of them have no incoming weight but zeros here;
            a recurrent cell has a second kernel that may feed them.
        inputs: the number of input channels; None where there are none.
        dead_inputs: how many of them have no outgoing weight but zeros.
        update_ratio: the L2 norm of the last update over that of the weight;
            None where the weight before it is not known.
        gradient_norm: the L2 norm of the gradient of the data loss, as the
            optimizer averages it; None where it keeps no such average.
        optimality: how far the weight is from a minimum of the data loss plus
            its penalty: the L2 norm of `(w - p) / t`, where `p` is the
            proximal step of `w - t * gradient`. None without a gradient.
    """

    path: str
    layer: str
    weight: str
    shape: tuple[int, ...]
    size: int
    trainable: bool
    regularizer: str | None
    strengths: Mapping[str, float]
    penalty: float
    penalty_share: float | None
    l1_norm: float
    l2_norm: float
    max_norm: float
    zeros: int
    near_zeros: int
    units: int | None
    dead_units: int | None
    inputs: int | None
    dead_inputs: int | None
    update_ratio: float | None = None
    gradient_norm: float | None = None
    optimality: float | None = None

    @property
    def sparsity(self) -> float:
        """The fraction of entries that are exactly 0.0; 0 without entries."""
        return self.zeros / self.size if self.size else 0.0

    @property
    def near_zero(self) -> float:
        """The fraction of entries that are near zero; 0 without entries."""
        return self.near_zeros / self.size if self.size else 0.0

    @property
    def rms(self) -> float:
        """`sqrt(mean(w ** 2))`; 0 without entries."""
        return self.l2_norm / math.sqrt(self.size) if self.size else 0.0

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
            **super().to_dict(),
            "sparsity": self.sparsity,
            "near_zero": self.near_zero,
            "rms": self.rms,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WeightReading":
        """The reading that `to_dict` made `values` of."""
        named = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{**named, "shape": tuple(values["shape"])})


def _strength(weight: WeightReading) -> str:
    if weight.regularizer is None:
        return ""
    values = " ".join(f"{value:.3g}" for value in weight.strengths.values())
    frozen = "" if weight.trainable else " (frozen)"
    return f"{weight.regularizer} {values}{frozen}".rstrip()


def _part(count: int | None, total: int | None) -> str:
    return "" if count is None else f"{count:,}/{total:,}"


class Totals(ResultWithRows):
    """What several weights come to together."""

    weights: tuple[WeightReading, ...]
    dead_units: Any  # an int, a field or a property

    def table(self) -> Table:
        """A row for each weight, and the totals."""
        columns = (
            Column("weight", "name", total="total"),
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
                _strength(weight),
                f"{weight.penalty:.3g}" if weight.regularizer else "",
                f"{weight.l1_norm:.3g}",
                f"{weight.l2_norm:.3g}",
                f"{weight.sparsity:.1%}",
                _part(weight.dead_units, weight.units),
                _part(weight.dead_inputs, weight.inputs),
            )
            for weight in self.weights
        ]
        return Table(columns, rows)

    def records(self) -> list[dict[str, Any]]:
        """The figures of each weight."""
        return [weight.to_dict() for weight in self.weights]

    @property
    def size(self) -> int:
        """The number of entries of all weights."""
        return sum(w.size for w in self.weights)

    @property
    def zeros(self) -> int:
        """How many of them are exactly 0.0."""
        return sum(w.zeros for w in self.weights)

    @property
    def sparsity(self) -> float:
        """The fraction of them that are exactly 0.0."""
        return self.zeros / self.size if self.size else 0.0

    @property
    def near_zero(self) -> float:
        """The fraction of them that are near zero."""
        near_zeros = sum(w.near_zeros for w in self.weights)
        return near_zeros / self.size if self.size else 0.0

    @property
    def penalty(self) -> float:
        """What all penalties on weights add to the loss."""
        return sum(w.penalty for w in self.weights)

    @property
    def penalty_share(self) -> float | None:
        """The same as a fraction of the loss, where that is known."""
        shares = [w.penalty_share for w in self.weights]
        return None if None in shares else sum(s for s in shares if s)

    @property
    def l1_norm(self) -> float:
        """`sum(abs(w))` over all weights."""
        return sum(w.l1_norm for w in self.weights)

    @property
    def l2_norm(self) -> float:
        """`sqrt(sum(w ** 2))` over all weights."""
        return _root_of_squares(w.l2_norm for w in self.weights)

    @property
    def max_norm(self) -> float:
        """`max(abs(w))` over all weights."""
        largest = [w.max_norm for w in self.weights]
        if any(math.isnan(value) for value in largest):
            return math.nan
        return max(largest, default=0.0)

    @property
    def rms(self) -> float:
        """`sqrt(mean(w ** 2))` over all weights."""
        return self.l2_norm / math.sqrt(self.size) if self.size else 0.0

    @property
    def dead_inputs(self) -> int:
        """How many input channels have no outgoing weight but zeros."""
        return sum(w.dead_inputs or 0 for w in self.weights)

    @property
    def update_ratio(self) -> float | None:
        """The L2 norm of the last update of all over that of the weights."""
        updates = [
            None if w.update_ratio is None else w.update_ratio * w.l2_norm
            for w in self.weights
        ]
        total = _root_or_none(updates)
        return None if total is None else ratio(total, self.l2_norm)

    @property
    def optimality(self) -> float | None:
        """How far all are from a minimum, where that is known of each."""
        return _root_or_none(
            [w.optimality for w in self.weights if w.trainable]
        )


@dataclass(frozen=True, repr=False)
class LayerReading(Totals):
    """The weights that one layer made, together.

    Args:
        path: the path of the layer.
        weights: one reading for each of its weights.
        dead_units: how many of its output channels have no incoming weight
            but zeros in all of its kernels; 0 for a layer without any.
    """

    path: str
    weights: tuple[WeightReading, ...]
    dead_units: int

    def headline(self) -> dict[str, Any]:
        """The layer, its zeros and its dead units."""
        return {
            "path": self.path,
            "weights": len(self.weights),
            "sparsity": self.sparsity,
            "dead_units": self.dead_units,
        }


@dataclass(frozen=True, repr=False)
class Reading(Totals, SavedResult):
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

    @property
    def dead_units(self) -> int:
        """How many output channels of all layers are dead."""
        return sum(layer.dead_units for layer in self.layers)

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
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Reading":
        """The reading that `to_dict` made `values` of."""
        weights = {
            weight["path"]: WeightReading.from_dict(weight)
            for weight in values["weights"]
        }
        layers = tuple(
            LayerReading(
                layer["path"],
                tuple(weights[path] for path in layer["weights"]),
                layer["dead_units"],
            )
            for layer in values["layers"]
        )
        return cls(
            values["step"],
            values["data_loss"],
            tuple(weights.values()),
            layers,
        )


def _root_of_squares(values: Iterable[float]) -> float:
    return math.sqrt(math.fsum(value**2 for value in values))


def _root_or_none(values: list[float | None]) -> float | None:
    """The root of the sum of squares; None if there are none or one is."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return _root_of_squares(known)


def ratio(part: float, whole: float) -> float:
    """`part / whole`; 0 for nothing of nothing."""
    if whole == 0.0:
        return 0.0 if part == 0.0 else math.inf
    return part / whole
