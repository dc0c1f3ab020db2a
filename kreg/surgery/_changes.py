"""What surgery changed in a model, and undoing it."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras

from kreg.results.result import Result, ResultWithRows
from kreg.results.table import Column, Table


def replace(owner: Any, attribute: str, value: Any, undo: ExitStack) -> None:
    """Set an attribute, and have `undo` set it back."""
    undo.callback(setattr, owner, attribute, getattr(owner, attribute))
    setattr(owner, attribute, value)


@dataclass(frozen=True, repr=False)
class Change(Result):
    """One object of a model that was replaced.

    Args:
        path: where: the path of a weight; of a layer, for what is not on a
            weight; the name of a model, for its optimizer.
        layer: the path of the weight's layer; the same as `path` otherwise.
        attribute: the attribute of the layer or optimizer that was set, which
            is what Keras saves; None where only the weight has changed.
        before: what was there, itself; None for nothing.
        after: what is there now.
    """

    path: str
    layer: str
    attribute: str | None
    before: Any
    after: Any

    def headline(self) -> dict[str, Any]:
        """Where, and what was and is there."""
        return {
            "path": self.path,
            "before": described(self.before),
            "after": described(self.after),
        }

    def to_dict(self) -> dict[str, str | None]:
        """The fields, with objects as text."""
        return {
            "path": self.path,
            "layer": self.layer,
            "attribute": self.attribute,
            "before": described(self.before),
            "after": described(self.after),
        }


@dataclass(frozen=True, repr=False)
class Changes(ResultWithRows, Sequence[Change]):
    """All that a call of `kreg.attach` or `kreg.strip` changed.

    A sequence of `Change`. `str` gives a table, `to_dict` plain values.

    Args:
        changes: one for each object that was replaced, in the model's order.
    """

    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def __getitem__(self, index: Any) -> Any:
        return self.changes[index]

    def headline(self) -> dict[str, Any]:
        """How many there are."""
        return {"changes": len(self)}

    def table(self) -> Table:
        """A row for each change."""
        columns = (
            Column("place", "name"),
            Column("attribute", "text", rank=1),
            Column("before", "text"),
            Column("after", "text"),
        )
        rows = [
            (
                change.path,
                change.attribute or "(not saved)",
                described(change.before) or "-",
                described(change.after) or "-",
            )
            for change in self.changes
        ]
        return Table(columns, rows, notes=[] if rows else ["nothing to change"])

    def records(self) -> list[dict[str, str | None]]:
        """The changes, with objects as text."""
        return [change.to_dict() for change in self.changes]


def described(value: Any) -> str | None:
    """A short text for a regularizer, constraint, optimizer or rate."""
    if value is None:
        return None
    if isinstance(value, float):
        return f"{value:.6g}"
    name = getattr(value, "__name__", None)  # of a function
    if name is not None:
        return str(name)
    if isinstance(value, keras.optimizers.Optimizer):
        return type(value).__name__
    own: Any = type(value).__repr__
    if own is not object.__repr__:
        return repr(value)
    return _configured(value)


def _configured(value: Any) -> str:
    """`L2(l2=0.01)` for an object of Keras, which has no such `repr`."""
    name = type(value).__name__
    try:
        config = value.get_config()
    except Exception:  # of a class that is not ours
        return name
    arguments = ", ".join(
        f"{key}={number:.6g}"
        if isinstance(number, float)
        else f"{key}={number}"
        for key, number in config.items()
    )
    return f"{name}({arguments})"
