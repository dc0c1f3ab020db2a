"""One penalty at one strength, over all folds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CompareRow:
    """What the folds say of one penalty at one strength.

    Args:
        penalty: the name of the penalty.
        strength: the strength.
        mean: the mean of the monitored metric over what the folds left out.
        standard_error: of that mean; folds of several seeds do not lower it.
        scores: the metric for each fold, seed after seed.
        train_mean: the mean of the metric over what was trained on.
        sparsity: the mean fraction of the penalized weights that are 0.0.
        nonzeros: the mean number of those that are not.
        dead_units: the mean number of dead output channels.
        epochs: the mean number of passes over the training data at this
            strength; without a penalty, in all.
        seconds: how long training at this strength took in all folds.
    """

    penalty: str
    strength: float
    mean: float
    standard_error: float
    scores: tuple[float, ...]
    train_mean: float
    sparsity: float
    nonzeros: float
    dead_units: float
    epochs: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, ready for JSON."""
        return {**asdict(self), "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CompareRow":
        """The row that `to_dict` made `values` of."""
        scores = tuple(float(score) for score in values["scores"])
        return cls(**{**values, "scores": scores})
