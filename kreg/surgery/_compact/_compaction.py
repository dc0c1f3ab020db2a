"""What was made smaller, and what could not be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LayerCompaction:
    """What became of one layer.

    Args:
        path: the layer, with the models that it is in.
        kind: its class.
        units_before: how many units (output channels) it had.
        units_after: how many it has.
        parameters_before: how many weights it had.
        parameters_after: how many it has.
        kept: how many of its units stay though they are constant, by reason.
    """

    path: str
    kind: str
    units_before: int
    units_after: int
    parameters_before: int
    parameters_after: int
    kept: Mapping[str, int]


@dataclass(frozen=True)
class Compaction:
    """What `kreg.compact` did to a model. Print it for a table.

    Args:
        layers: every layer with units of its own, in the order of execution.
        kept_inputs: for each input, by its name, the indices of the features
            that the small model takes, in order.
        parameters_before: how many weights the model had.
        parameters_after: how many the small one has.
    """

    layers: tuple[LayerCompaction, ...]
    kept_inputs: Mapping[str, NDArray[np.int64]]
    parameters_before: int
    parameters_after: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dictionaries."""
        return {
            "layers": [
                {**asdict(layer), "kept": dict(layer.kept)}
                for layer in self.layers
            ],
            "kept_inputs": {
                name: indices.tolist()
                for name, indices in self.kept_inputs.items()
            },
            "parameters_before": self.parameters_before,
            "parameters_after": self.parameters_after,
        }

    def __str__(self) -> str:
        from rich import box
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, show_footer=True)
        table.add_column("layer", "total", overflow="fold")
        table.add_column("units", justify="right")
        table.add_column(
            "parameters",
            _change(self.parameters_before, self.parameters_after),
            justify="right",
        )
        table.add_column("constant, and kept because", overflow="fold")
        for layer in self.layers:
            table.add_row(
                escape(layer.path),
                _change(layer.units_before, layer.units_after),
                _change(layer.parameters_before, layer.parameters_after),
                "\n".join(
                    escape(f"{count}: {reason}")
                    for reason, count in layer.kept.items()
                ),
            )
        console = Console(width=100)
        with console.capture() as captured:
            console.print(table)
        return captured.get().rstrip()


def _change(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} -> {after:,}"
