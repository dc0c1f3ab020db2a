"""What every result of kreg can do: be shown, saved and taken apart."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from kreg.results.files import data_frame, read_record, write_record
from kreg.results.table import Column, Table, terminal_width

_LONGEST = 40  # characters of a text in a `repr`


class Result(ABC):
    """A frozen dataclass, declared with `repr=False`, that a user may print.

    `repr` is one short line, `str` a table in plain text, which fits into the
    terminal if there is one; a notebook shows the table in HTML, and a `rich`
    console fits it into its width.
    """

    @abstractmethod
    def headline(self) -> Mapping[str, Any]:
        """The few figures that matter most, as `repr` shows them."""

    def table(self) -> Table:
        """The table that `str` shows. By default a row for each field."""
        rows = [
            (name.replace("_", " "), text)
            for field, value in self.to_dict().items()
            for name, text in _named_texts(field, value)
        ]
        columns = (Column("", "text"), Column("value", "text"))
        return Table(columns, rows, title=type(self).__name__)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers, ready for JSON; no weights."""
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
        # `print` asks for this text, so it must fit where it is shown.
        return self.table().to_text(terminal_width())

    def __rich__(self) -> Table:
        return self.table()

    def _repr_html_(self) -> str:
        return self.table().to_html()


class ResultWithRows(Result):
    """A result whose table has a row for each of several records."""

    @abstractmethod
    def records(self) -> Sequence[Mapping[str, Any]]:
        """Plain values by the names of the columns, for each row."""

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with the rows of the table.

        Raises:
            ImportError: if pandas is not installed.
        """
        return data_frame(self.records())


class SavedResult(Result):
    """A result that a file can hold."""

    @classmethod
    @abstractmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The result that `to_dict` made `values` of."""

    def save(self, path: str | Path) -> None:
        """Write the result as JSON.

        Args:
            path: str or path of the file; replaced if it is there.
        """
        write_record(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote."""
        return cls.from_dict(read_record(path))


def plain(value: Any) -> Any:
    """`value` in terms that JSON has."""
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
    """The rows that show a plain value."""
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
    if isinstance(value, str) and len(value) > _LONGEST:
        half = _LONGEST // 2
        value = f"{value[:half]}…{value[-half:]}"
    return repr(value)
