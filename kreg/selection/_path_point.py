"""One point of a path: what a model is at one strength."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PathPoint:
    """What training at one strength came to.

    Args:
        strength: the strength.
        fraction: the strength as a fraction of the strength above which
            everything is zero; None where that is not known.
        sparsity: the fraction of the penalized weights that are exactly 0.0.
        nonzeros: how many of the penalized weights are not.
        dead_units: how many output channels of the model are dead.
        dead_inputs: how many input channels of its layers no weight reads.
        selected_inputs: the indices of the input features that are read; None
            where the model has no single flat input that dense layers read.
        train: each metric on the training data by its name, `"data_loss"`
            among them.
        validation: the same on the validation data; empty without any.
        epochs: how many passes over the training data were made.
        steps: how many updates the optimizer made.
        optimality: how far the end is from a minimum of the data loss plus the
            penalty, as `kreg.statistics.read` tells it; None where the
            optimizer keeps no average of gradients.
        seconds: how long it took.
        converged: whether training stopped by itself before its last epoch;
            with a refit, whether both did.
    """

    strength: float
    fraction: float | None
    sparsity: float
    nonzeros: int
    dead_units: int
    dead_inputs: int
    selected_inputs: tuple[int, ...] | None
    train: Mapping[str, float]
    validation: Mapping[str, float]
    epochs: int
    steps: int
    optimality: float | None
    seconds: float
    converged: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, ready for JSON."""
        found = asdict(self)
        if self.selected_inputs is not None:
            found["selected_inputs"] = list(self.selected_inputs)
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PathPoint":
        """The point that `to_dict` made `values` of."""
        selected = values["selected_inputs"]
        if selected is not None:
            selected = tuple(int(index) for index in selected)
        return cls(**{**values, "selected_inputs": selected})
