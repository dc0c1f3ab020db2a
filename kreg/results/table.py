"""One table, as text, as Markdown and as HTML."""

import html
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

_GAP = 2  # between columns
_SHORT = 16  # the width to which names are shortened before columns go
_SHORTEST = 8
_UNLIMITED = 100_000


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        heading: its heading; a newline starts a second line.
        kind: `"number"` is right-aligned; `"name"`, such as a path, is
            shortened in the middle where the table is too wide; `"text"` is
            wrapped between words there. Defaults to `"number"`.
        rank: which columns are left out where the table is too wide: those of
            the highest rank first, those of rank 0 never. Defaults to `0`.
        total: what stands below the rows. Defaults to nothing.
    """

    heading: str
    kind: Literal["name", "text", "number"] = "number"
    rank: int = 0
    total: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text below headings.

    `console.print(table)` fits it into the width of a `rich` console.

    Args:
        columns: the columns.
        rows: a cell for each column in every row.
        title: a line above it.
        notes: lines below it.
        chosen: the index of the row to emphasize; None for none.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = ()
    chosen: int | None = None

    def to_text(self, width: int | None = None) -> str:
        """The table as plain text, without escape codes.

        Args:
            width: the most characters in a line. Defaults to `None`: as many
                as it takes.
        """
        console = Console(
            file=io.StringIO(),
            width=width or _UNLIMITED,
            color_system=None,
            force_terminal=False,
            force_jupyter=False,
            legacy_windows=False,
        )
        with console.capture() as captured:
            console.print(self)
        lines = captured.get().splitlines()
        return "\n".join(line.rstrip() for line in lines)

    def to_markdown(self) -> str:
        """The table in Markdown, with its notes below."""
        headings = [c.heading.replace("\n", " ") for c in self.columns]
        rows = [[_escaped(cell) for cell in row] for row in self._all_rows()]
        rows.insert(0, [_escaped(heading) for heading in headings])
        widths = [
            max(3, *map(cell_len, cells)) for cells in zip(*rows, strict=True)
        ]
        bars = [
            f"{'-' * (width - 1)}:" if column.kind == "number" else "-" * width
            for column, width in zip(self.columns, widths, strict=True)
        ]
        rows.insert(1, bars)
        lines = []
        for row in rows:
            cells = [
                _padded(cell, width, column)
                for cell, width, column in zip(
                    row, widths, self.columns, strict=True
                )
            ]
            lines.append(f"| {' | '.join(cells)} |")
        if self.notes:
            lines += ["", *map(_printable, self.notes)]
        return "\n".join(lines)

    def to_html(self) -> str:
        """The table in HTML, with its notes below."""
        parts = ["<table>"]
        if self.title:
            parts.append(f"<caption>{_html(self.title)}</caption>")
        headings = [column.heading for column in self.columns]
        parts.append(f"<thead>{self._html_row(headings, 'th')}</thead>")
        parts.append("<tbody>")
        for i, row in enumerate(self.rows):
            is_chosen = i == self.chosen
            parts.append(self._html_row(row, "th" if is_chosen else "td"))
        parts.append("</tbody>")
        totals = [column.total for column in self.columns]
        if any(totals):
            parts.append(f"<tfoot>{self._html_row(totals, 'th')}</tfoot>")
        parts.append("</table>")
        parts += [f"<p>{_html(note)}</p>" for note in self.notes]
        return "\n".join(parts)

    def _html_row(self, cells: Sequence[str], tag: str) -> str:
        sides = [
            "right" if column.kind == "number" else "left"
            for column in self.columns
        ]
        inside = "".join(
            f'<{tag} style="text-align: {side}">{_html(cell)}</{tag}>'
            for side, cell in zip(sides, cells, strict=True)
        )
        return f"<tr>{inside}</tr>"

    def _all_rows(self) -> Iterator[Sequence[str]]:
        yield from self.rows
        totals = [column.total for column in self.columns]
        if any(totals):
            yield totals

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        widths = self._widths(options.max_width)
        if self.title:
            yield Text(_printable(self.title), style="italic")
        table = RichTable(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, _GAP - 1, 0, 0),
            show_footer=any(column.total for column in self.columns),
        )
        cells = self._cells()
        for i, width in widths.items():
            column = self.columns[i]
            if column.kind == "name":
                cells[i] = shortened(cells[i], width)
            table.add_column(
                Text(column.heading),
                Text(cells[i][-1]),
                justify="right" if column.kind == "number" else "left",
                width=width,
                no_wrap=column.kind != "text",
                overflow="fold" if column.kind == "text" else "ellipsis",
            )
        for k in range(len(self.rows)):
            table.add_row(
                *(Text(cells[i][k]) for i in widths),
                style="bold" if k == self.chosen else None,
            )
        yield table
        lost = [c for i, c in enumerate(self.columns) if i not in widths]
        notes = list(self.notes)
        if lost:
            names = ", ".join(c.heading.replace("\n", " ") for c in lost)
            notes.insert(0, f"Left out for want of width: {names}.")
        for note in notes:
            yield Text(_printable(note))

    def _widths(self, width: int) -> dict[int, int]:
        """The columns that fit, and how wide each is."""
        cells = self._cells()
        natural = [
            max(map(_width, [column.heading, *texts]))
            for column, texts in zip(self.columns, cells, strict=True)
        ]
        widths = dict(enumerate(natural))
        if _total(widths) <= width:
            return widths
        for i, column in enumerate(self.columns):
            if column.kind == "name":
                least = _width_that_tells_apart(cells[i])
                widths[i] = max(least, _width(column.heading))
            elif column.kind == "text":
                texts = [column.heading, *cells[i]]
                words = [word for text in texts for word in text.split()]
                widths[i] = max(map(cell_len, words), default=0)
        by_rank = sorted(widths, key=lambda i: (self.columns[i].rank, i))
        while _total(widths) > width and self.columns[by_rank[-1]].rank:
            del widths[by_rank.pop()]
        spare = width - _total(widths)
        flexible = [i for i in widths if self.columns[i].kind != "number"]
        flexible.sort(key=lambda i: self.columns[i].kind != "name")
        for i in flexible:
            change = min(natural[i] - widths[i], spare)
            if spare < 0:
                change = max(min(_SHORTEST - widths[i], 0), spare)
            widths[i] += change
            spare -= change
        return widths

    def _cells(self) -> list[list[str]]:
        """The texts of each column, its total at the end."""
        rows = [*self.rows, [column.total for column in self.columns]]
        return [
            [_printable(row[i], column.kind == "text") for row in rows]
            for i, column in enumerate(self.columns)
        ]


def output_console() -> Console:
    """A console on standard output.

    As wide as the terminal; where output is piped, as wide as it takes.
    """
    return Console(width=None if sys.stdout.isatty() else _UNLIMITED)


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names or paths that fit into a width, such as `encoder/…/kernel`.

    Those that are too wide lose whole parts between slashes, as many at the
    same place in all, and so that as many as possible stay different. Only a
    last part that is wider than `width` by itself loses letters.

    Args:
        names: the names.
        width: the most characters of each that are left.
    """
    if max(map(cell_len, names), default=0) <= width:
        return list(names)
    ways = [
        [
            name if cell_len(name) <= width else _part(name, first, last)
            for name in names
        ]
        for first, last in _ways(names)
    ]
    fitting = [way for way in ways if max(map(cell_len, way)) <= width]
    if fitting:
        return max(fitting, key=lambda way: (len(set(way)), sum(map(len, way))))
    return [
        name if cell_len(name) <= width else _cut(name.split("/")[-1], width)
        for name in names
    ]


def _ways(names: Sequence[str]) -> list[tuple[int, int]]:
    """How many parts of paths to keep at their starts and ends."""
    most = max(name.count("/") for name in names)
    return [
        (first, last)
        for first in range(most)
        for last in range(1, most + 1 - first)
    ]


def _part(name: str, first: int, last: int) -> str:
    """The first and last parts of a path with `…` between."""
    parts = name.split("/")
    if len(parts) <= first + last:
        return name
    return "/".join([*parts[:first], "…", *parts[-last:]])


def _cut(name: str, width: int) -> str:
    """A name without letters in its middle."""
    if cell_len(name) <= width:
        return name
    start = (width - 1) // 2
    end = max(width - 1 - start, 0)
    return f"{name[:start]}…{name[len(name) - end :]}"


def _width_that_tells_apart(names: Sequence[str]) -> int:
    """The least width at which shortened names stay different."""
    longest = max(map(cell_len, names), default=0)
    widths = [longest]
    for first, last in _ways(names):
        way = [_part(name, first, last) for name in names]
        if len(set(way)) == len(set(names)):
            widths.append(max(_SHORT, *map(cell_len, way)))
    return min(widths)


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _padded(cell: str, width: int, column: Column) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if column.kind == "number" else cell + space


def _printable(text: str, several_lines: bool = False) -> str:
    """`text` without control characters, which a layer's name may have."""
    return "".join(
        c if c.isprintable() or (several_lines and c == "\n") else "\ufffd"
        for c in text
    )


def _html(text: str) -> str:
    return html.escape(_printable(text, True)).replace("\n", "<br>")


# An underscore between letters or digits is no markup.
_MARKUP = re.compile(r"[\\`*{}\[\]<>|]|(?<![^\W_])_|_(?![^\W_])")


def _escaped(text: str) -> str:
    """`text` without what Markdown would take for markup."""
    return _MARKUP.sub(r"\\\g<0>", _printable(text.replace("\n", "; ")))
