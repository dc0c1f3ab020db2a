"""`TieReading`, the figures of groups that are tied across weights."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kreg.results.result import SavedResult


@dataclass(frozen=True, repr=False)
class TieReading(SavedResult):
    """The figures of groups that are tied across several weights.

    Args:
        path: the path of its layer and the name of its groups, such as
            `"attention/heads"`.
        weights: the paths of its weights.
        regularizer: the class name of its penalty.
        strengths: the present strengths of the penalty, by name.
        units: the number of its groups.
        dead_units: the number of groups that are zero in all of its weights.
        size: the number of entries of its weights.
        zeros: the number of entries that are exactly 0.0.
        l1_norm: `sum(abs(w))` over its weights.
        l2_norm: `sqrt(sum(w ** 2))` over its weights.
        penalty: the penalty of the tie. It is the sum of the penalties of its
            weights, so it must not be added to them.
        step: the iteration of the optimizer that updates its weights.
    """

    path: str
    weights: tuple[str, ...]
    regularizer: str
    strengths: Mapping[str, float]
    units: int
    dead_units: int
    size: int
    zeros: int
    l1_norm: float
    l2_norm: float
    penalty: float
    step: int

    @property
    def sparsity(self) -> float:
        """The fraction of entries that are exactly 0.0."""
        return self.zeros / self.size if self.size else 0.0

    def headline(self) -> dict[str, Any]:
        """The tie, its zeros and its dead groups."""
        return {
            "path": self.path,
            "weights": len(self.weights),
            "sparsity": self.sparsity,
            "dead_units": self.dead_units,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        named = {
            field.name: getattr(self, field.name) for field in fields(self)
        }
        return {
            **named,
            "weights": list(self.weights),
            "strengths": dict(self.strengths),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TieReading":
        """The inverse of `to_dict`."""
        return cls(**{**values, "weights": tuple(values["weights"])})
