"""One table, as text, as Markdown and as HTML."""

import html
import io
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from kreg.results.short_names import (
    READABLE,
    shortened_lines,
    width_that_tells_apart,
)

_SHORTEST = 8  # of a column of names or text, however narrow the table is
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
    """Rows of text below headings; without rows, its notes alone.

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
        rows = [[escaped(cell) for cell in row] for row in self._all_rows()]
        rows.insert(0, [escaped(heading) for heading in headings])
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
        if self.title:
            yield Text(_printable(self.title), style="italic")
        notes = list(self.notes)
        if self.rows:
            widths, gap = self._widths(options.max_width)
            yield self._in_rich(widths, gap)
            lost = [c for i, c in enumerate(self.columns) if i not in widths]
            if lost:
                names = ", ".join(c.heading.replace("\n", " ") for c in lost)
                notes.insert(0, f"Left out for want of width: {names}.")
        for note in notes:
            yield Text(_printable(note))

    def _in_rich(self, widths: dict[int, int], gap: int) -> RichTable:
        table = RichTable(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, gap - 1, 0, 0),
            show_footer=any(column.total for column in self.columns),
        )
        cells = self._cells()
        for i, width in widths.items():
            column = self.columns[i]
            if column.kind == "name":
                cells[i] = shortened_lines(cells[i], width)
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
        return table

    def _widths(self, width: int) -> tuple[dict[int, int], int]:
        """The columns that fit with their widths, and the gap between them."""
        cells = self._cells()
        natural = [
            max(map(_width, [column.heading, *texts]))
            for column, texts in zip(self.columns, cells, strict=True)
        ]
        widths = dict(enumerate(natural))
        for gap in (2, 1):
            if _total(widths, gap) <= width:
                return widths, gap
        for i, column in enumerate(self.columns):
            if column.kind == "name":
                least = width_that_tells_apart(cells[i])
                widths[i] = max(least, _width(column.heading))
            elif column.kind == "text":
                texts = [column.heading, *cells[i]]
                words = [word for text in texts for word in text.split()]
                widths[i] = max(map(cell_len, words), default=0)
        by_rank = sorted(widths, key=lambda i: (self.columns[i].rank, i))
        while _total(widths, gap) > width and self.columns[by_rank[-1]].rank:
            del widths[by_rank.pop()]
        for kind in ("name", "text"):
            kept = [i for i in widths if self.columns[i].kind == kind]
            _grow({i: natural[i] for i in kept}, widths, width, gap)
        for kind, least in (
            ("name", READABLE),
            ("text", _SHORTEST),
            ("name", _SHORTEST),
        ):
            kept = [i for i in widths if self.columns[i].kind == kind]
            _shrink(kept, least, widths, width, gap)
        return widths, gap

    def _cells(self) -> list[list[str]]:
        """The texts of each column, its total at the end."""
        rows = [*self.rows, [column.total for column in self.columns]]
        return [
            [_printable(row[i]) for row in rows]
            for i in range(len(self.columns))
        ]


def output_console() -> Console:
    """A console on standard output.

    As wide as the terminal; where output is piped, as wide as it takes.
    """
    return Console(width=terminal_width() or _UNLIMITED)


def terminal_width() -> int | None:
    """The columns of the terminal that is standard output; None without one."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


# An underscore between letters or digits is no markup.
_MARKUP = re.compile(r"[\\`*{}\[\]<>|]|(?<![^\W_])_|_(?![^\W_])")


def escaped(text: str) -> str:
    """`text` without what Markdown would take for markup."""
    return _MARKUP.sub(r"\\\g<0>", _printable(text.replace("\n", "; ")))


def _grow(
    natural: dict[int, int], widths: dict[int, int], width: int, gap: int
) -> None:
    """Spread what is left of a width over some columns, the narrowest first."""
    for _ in range(width - _total(widths, gap)):
        growing = [i for i in natural if widths[i] < natural[i]]
        if growing:
            widths[min(growing, key=lambda i: widths[i])] += 1


def _shrink(
    columns: list[int],
    least: int,
    widths: dict[int, int],
    width: int,
    gap: int,
) -> None:
    """Take what is too much from some columns, the widest first."""
    for _ in range(_total(widths, gap) - width):
        shrinking = [i for i in columns if widths[i] > least]
        if shrinking:
            widths[max(shrinking, key=lambda i: widths[i])] -= 1


def _total(widths: dict[int, int], gap: int) -> int:
    return sum(widths.values()) + gap * (len(widths) - 1)


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _padded(cell: str, width: int, column: Column) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if column.kind == "number" else cell + space


def _printable(text: str) -> str:
    """`text` without control characters, which a layer's name may have."""
    return "".join(
        c if c.isprintable() or c == "\n" else "\ufffd" for c in text
    )


def _html(text: str) -> str:
    return html.escape(_printable(text)).replace("\n", "<br>")
