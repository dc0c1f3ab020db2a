"""What surgery changed in a model, and undoing it."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras


def replace(owner: Any, attribute: str, value: Any, undo: ExitStack) -> None:
    """Set an attribute, and have `undo` set it back."""
    undo.callback(setattr, owner, attribute, getattr(owner, attribute))
    setattr(owner, attribute, value)


_HEADINGS = ("place", "attribute", "before", "after")


@dataclass(frozen=True)
class Change:
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

    def to_dict(self) -> dict[str, str | None]:
        """The fields, with objects as text."""
        return {
            "path": self.path,
            "layer": self.layer,
            "attribute": self.attribute,
            "before": described(self.before),
            "after": described(self.after),
        }


@dataclass(frozen=True)
class Changes:
    """All that a call of `kreg.attach` or `kreg.strip` changed.

    `str` gives a table, `to_dict` plain values.

    Args:
        changes: one for each object that was replaced, in the model's order.
    """

    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def to_dict(self) -> dict[str, list[dict[str, str | None]]]:
        """The changes, with objects as text."""
        return {"changes": [change.to_dict() for change in self.changes]}

    def __str__(self) -> str:
        if not self.changes:
            return "nothing to change"
        rows = [_HEADINGS] + [
            (
                change.path,
                change.attribute or "(not saved)",
                described(change.before) or "-",
                described(change.after) or "-",
            )
            for change in self.changes
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(_line(row, widths) for row in rows)


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


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()
