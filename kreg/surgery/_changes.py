"""`Changes`, the record of replaced objects; and setting with an undo."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from kreg.foreign_objects import described
from kreg.results.result import Result, ResultWithRows
from kreg.results.table import Column, Table


def replace(owner: Any, attribute: str, value: Any, undo: ExitStack) -> None:
    """Set an attribute; closing `undo` sets it back."""
    undo.callback(setattr, owner, attribute, getattr(owner, attribute))
    setattr(owner, attribute, value)


@dataclass(frozen=True, repr=False)
class Change(Result):
    """The replacement of one object of a model.

    Args:
        path: the path of the weight; the path of the layer, for an object that
            is on no weight; the name of the model, for its optimizer.
        layer: the path of the weight's layer; otherwise the same as `path`.
        attribute: the attribute of the layer or optimizer that was set, which
            Keras saves; None if only the weight has changed.
        before: the object before, or None.
        after: the object now, or None.
        in_file: whether a `.keras` file of the model keeps it although no
            attribute does. Defaults to `False`.
    """

    path: str
    layer: str
    attribute: str | None
    before: Any
    after: Any
    in_file: bool = False

    def headline(self) -> dict[str, Any]:
        """The place, and the objects before and after."""
        return {
            "path": self.path,
            "before": described(self.before),
            "after": described(self.after),
        }

    @property
    def place(self) -> str:
        """Where the new object is saved: an attribute, the file, or nowhere."""
        if self.attribute is not None:
            return self.attribute
        return "(.keras file)" if self.in_file else "(not saved)"

    def to_dict(self) -> dict[str, Any]:
        """The fields, with objects as text."""
        return {
            "path": self.path,
            "layer": self.layer,
            "attribute": self.attribute,
            "before": described(self.before),
            "after": described(self.after),
            "in_file": self.in_file,
        }


@dataclass(frozen=True, repr=False)
class Changes(ResultWithRows, Sequence[Change]):
    """All that a call of `kreg.attach` or `kreg.strip` changed.

    It is a sequence of `Change`. `str` returns a table, `to_dict` plain values.

    Args:
        changes: one for each object that was replaced, in the model's order.
    """

    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def __getitem__(self, index: Any) -> Any:
        return self.changes[index]

    def headline(self) -> dict[str, Any]:
        """The number of changes."""
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
                change.place,
                described(change.before) or "-",
                described(change.after) or "-",
            )
            for change in self.changes
        ]
        return Table(columns, rows, notes=[] if rows else ["nothing to change"])

    def records(self) -> list[dict[str, Any]]:
        """The changes, with objects as text."""
        return [change.to_dict() for change in self.changes]
