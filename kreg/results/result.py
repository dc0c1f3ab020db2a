"""Base classes of results: short `repr`, table, plain dict, saving."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from kreg.results.files import data_frame, read_record, write_record
from kreg.results.table import Column, Table, terminal_width

_MAX_TEXT = 40  # the maximum length of a text in a `repr`


class Result(ABC):
    """The base class of the results that kreg returns to a user.

    Subclasses are frozen dataclasses, declared with `repr=False`. `repr` is
    one short line. `str` is a table in plain text, no wider than the terminal.
    A notebook shows the table as HTML, a `rich` console in its own width.
    """

    @abstractmethod
    def headline(self) -> Mapping[str, Any]:
        """The few figures that matter most, by name; `repr` shows them."""

    def table(self) -> Table:
        """The table that `str` shows; by default, a row for each field."""
        rows = [
            (name.replace("_", " "), text)
            for field, value in self.to_dict().items()
            for name, text in _named_texts(field, value)
        ]
        columns = (Column("", "text"), Column("value", "text"))
        return Table(columns, rows, title=type(self).__name__)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, ready for JSON, without weights."""
        fields: tuple[dataclasses.Field[Any], ...]
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {
            field.name: plain(getattr(self, field.name))
            for field in fields
            if field.compare
        }

    def __repr__(self) -> str:
        figures = ", ".join(
            f"{name}={_brief(value)}" for name, value in self.headline().items()
        )
        return f"{type(self).__name__}({figures})"

    def __str__(self) -> str:
        # `print` calls this, so the text must fit into the terminal.
        return self.table().to_text(terminal_width())

    def __rich__(self) -> Table:
        return self.table()

    def _repr_html_(self) -> str:
        return self.table().to_html()


class ResultWithRows(Result):
    """A result with several records, each a row of its table."""

    @abstractmethod
    def records(self) -> Sequence[Mapping[str, Any]]:
        """A dict for each row, with plain values by column name."""

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with the rows of the table.

        Raises:
            ImportError: if pandas is not installed.
        """
        return data_frame(self.records())


class SavedResult(Result):
    """A result that can be saved to a JSON file and loaded."""

    @classmethod
    @abstractmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""

    def save(self, path: str | Path) -> None:
        """Write the result as JSON.

        Args:
            path: str or path of the file, replaced if it exists.
        """
        write_record(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result that `save` has written."""
        return cls.from_dict(read_record(path))


def plain(value: Any) -> Any:
    """`value` as dicts, lists, texts and numbers, which JSON can hold."""
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    return value


def figure(value: Any) -> str:
    """A number as text with four digits; `-` for None."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _named_texts(name: str, value: Any) -> list[tuple[str, str]]:
    """The rows of the default table for a field: its name and its text."""
    if isinstance(value, dict):
        return [
            row
            for key, part in value.items()
            for row in _named_texts(f"{name} {key}", part)
        ]
    if isinstance(value, list):
        return [(name, ", ".join(map(figure, value)) or "-")]
    return [(name, figure(value))]


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        half = _MAX_TEXT // 2
        value = f"{value[:half]}…{value[-half:]}"
    return repr(value)
