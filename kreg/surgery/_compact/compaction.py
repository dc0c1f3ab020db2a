"""The record of a compaction: the size of each layer before and after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.results.result import Result, ResultWithRows, SavedResult
from kreg.results.table import Column, Table


@dataclass(frozen=True, repr=False)
class LayerCompaction(Result):
    """The size of one layer before and after.

    Args:
        path: the name of the layer, after those of the layers and models
            around it.
        kind: its class.
        units_before: how many units (output channels) it had; 0 if its first
            output has no known channels.
        units_after: how many it has.
        parameters_before: how many weights it had, without those of layers
            that have a row of their own.
        parameters_after: how many it has.
        kept: the numbers of constant units that had to stay, by reason. They
            are listed for the layer that makes the units, not for those that
            pass them on.
        heads_before: how many attention heads it had; 0 if it has none.
        heads_after: how many it has.
        groups_before: how many groups of channels a convolution had; 0 if it
            has none.
        groups_after: how many it has.
        way: how it got into the small model: `"unchanged"`; by the `"rule of
            its class"`; by `"operations that know its constants"`, which take
            its place; by the `"config of the model"` or the `"config of the
            layer"`, its own or of one around it, with other sizes; or by the
            `"layers inside it"`, which took its place.
        stays: why it had to stay whole; empty if it did not.
    """

    path: str
    kind: str
    units_before: int
    units_after: int
    parameters_before: int
    parameters_after: int
    kept: Mapping[str, int]
    heads_before: int = 0
    heads_after: int = 0
    groups_before: int = 0
    groups_after: int = 0
    way: str = ""
    stays: str = ""

    def headline(self) -> dict[str, Any]:
        """The layer and its units."""
        return {
            "path": self.path,
            "units": before_and_after(self.units_before, self.units_after),
            "constant_kept": sum(self.kept.values()),
        }

    @property
    def sizes(self) -> str:
        """Units, heads and groups before and after, as text."""
        counts = (
            (self.units_before, self.units_after, ""),
            (self.heads_before, self.heads_after, " heads"),
            (self.groups_before, self.groups_after, " groups"),
        )
        return ", ".join(
            before_and_after(before, after) + name
            for before, after, name in counts
            if before or not name
        )

    @property
    def reasons(self) -> str:
        """Why the layer, or some of its constant units, had to stay."""
        lines = [f"{count}: {reason}" for reason, count in self.kept.items()]
        return "\n".join([*([self.stays] if self.stays else ()), *lines])


@dataclass(frozen=True, repr=False, eq=False)
class Compaction(ResultWithRows, SavedResult):
    """What `kreg.compact` did to a model. Print it for a table.

    Args:
        layers: every layer with weights, however deep inside others. A layer
            of Keras that holds others, such as attention, counts as one.
        kept_inputs: for each input, by its name, the indices of the features
            that the small model takes, in order.
        parameters_before: how many weights the model had.
        parameters_after: how many the small one has.
        kind_before: the class of the model.
        kind_after: the class of the small one.
        notes: what was tried and given up, and what could not be checked.
        new_ids: for each input whose ids of tokens have changed, by its name,
            the new id of each old one; -1 for an id that must not occur.
    """

    layers: tuple[LayerCompaction, ...]
    kept_inputs: Mapping[str, NDArray[np.int64]]
    parameters_before: int
    parameters_after: int
    kind_before: str = ""
    kind_after: str = ""
    notes: tuple[str, ...] = ()
    new_ids: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def headline(self) -> dict[str, Any]:
        """The numbers of layers with weights and of weights."""
        return {
            "layers": len(self.layers),
            "parameters_before": self.parameters_before,
            "parameters_after": self.parameters_after,
        }

    def table(self) -> Table:
        """A row for each layer with weights."""
        change = before_and_after(self.parameters_before, self.parameters_after)
        columns = (
            Column("layer", "name", total="total"),
            Column("units"),
            Column("parameters", total=change),
            Column("way", "text"),
            Column("what stays, and why", "text"),
        )
        rows = [
            (
                layer.path,
                layer.sizes,
                before_and_after(
                    layer.parameters_before, layer.parameters_after
                ),
                layer.way,
                layer.reasons,
            )
            for layer in self.layers
        ]
        notes = list(self.notes)
        if self.kind_before != self.kind_after:
            notes.insert(
                0,
                f"The model was a {self.kind_before}, and is a "
                f"{self.kind_after} now.",
            )
        return Table(columns, rows, notes=notes)

    def records(self) -> list[dict[str, Any]]:
        """The fields of each layer."""
        return [layer.to_dict() for layer in self.layers]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Compaction):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Compaction":
        """The inverse of `to_dict`."""
        return cls(
            **{
                **values,
                "layers": tuple(
                    LayerCompaction(**layer) for layer in values["layers"]
                ),
                "kept_inputs": {
                    name: np.array(indices, np.int64)
                    for name, indices in values["kept_inputs"].items()
                },
                "notes": tuple(values.get("notes", ())),
                "new_ids": {
                    name: np.array(ids, np.int64)
                    for name, ids in values.get("new_ids", {}).items()
                },
            }
        )


def before_and_after(before: int, after: int) -> str:
    """Two numbers as text; one if they are equal."""
    return f"{before:,}" if before == after else f"{before:,} -> {after:,}"
