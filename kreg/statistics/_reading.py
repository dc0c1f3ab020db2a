"""What one reading of a model's weights says, as a frozen table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class WeightReading:
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
        l1_norm: `sum(abs(w))`.
        l2_norm: `sqrt(sum(w ** 2))`.
        max_norm: `max(abs(w))`.
        zeros: how many entries are exactly 0.0.
        units: the number of output channels; None where there are none.
        dead_units: how many of them have no incoming weight but zeros here;
            a recurrent cell has a second kernel that may feed them.
        inputs: the number of input channels; None where there are none.
        dead_inputs: how many of them have no outgoing weight but zeros.
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
    l1_norm: float
    l2_norm: float
    max_norm: float
    zeros: int
    units: int | None
    dead_units: int | None
    inputs: int | None
    dead_inputs: int | None

    @property
    def sparsity(self) -> float:
        """The fraction of entries that are exactly 0.0; 0 without entries."""
        return self.zeros / self.size if self.size else 0.0


@dataclass(frozen=True)
class Reading:
    """All weights of a model at one moment.

    Args:
        step: the optimizer iteration; 0 for a model that is not compiled.
        dead_units: how many output channels have no incoming weight but zeros
            in all the kernels of their layer.
        weights: one reading for each weight, in the order of the layers.
    """

    step: int
    dead_units: int
    weights: tuple[WeightReading, ...]

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
    def penalty(self) -> float:
        """What all penalties on weights add to the loss."""
        return sum(w.penalty for w in self.weights)

    @property
    def l1_norm(self) -> float:
        """`sum(abs(w))` over all weights."""
        return sum(w.l1_norm for w in self.weights)

    @property
    def l2_norm(self) -> float:
        """`sqrt(sum(w ** 2))` over all weights."""
        squares: float = sum(w.l2_norm**2 for w in self.weights)
        return squares**0.5

    @property
    def max_norm(self) -> float:
        """`max(abs(w))` over all weights."""
        return max((w.max_norm for w in self.weights), default=0.0)

    @property
    def dead_inputs(self) -> int:
        """How many input channels have no outgoing weight but zeros."""
        return sum(w.dead_inputs or 0 for w in self.weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, ready for JSON."""
        return {
            "step": self.step,
            "dead_units": self.dead_units,
            "weights": [
                {
                    **asdict(weight),
                    "shape": list(weight.shape),
                    "sparsity": weight.sparsity,
                }
                for weight in self.weights
            ],
        }
