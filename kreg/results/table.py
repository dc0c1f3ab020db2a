"""`Table`: a table of results as plain text, Markdown, HTML or for `rich`."""

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

from kreg._arguments import instance_of
from kreg.results.short_names import (
    READABLE,
    narrowest_distinct_width,
    shortened_lines,
)

# The minimum width of a column of names or text, however narrow the table.
_NARROWEST = 8
_UNLIMITED = 100_000  # a console width that no table reaches


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        heading: the text above the column; a newline starts a second line.
        kind: `"number"` is right-aligned. If the table is too wide, a `"name"`,
            such as a path, is shortened in the middle, and a `"text"` is
            wrapped between words. Defaults to `"number"`.
        rank: if the table is too wide, columns of the highest rank are dropped
            first, and those of rank 0 never. Defaults to `0`.
        total: the text below the rows. Defaults to nothing.
    """

    heading: str
    kind: Literal["name", "text", "number"] = "number"
    rank: int = 0
    total: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text below headings; without rows, only the notes are shown.

    `console.print(table)` fits the table to the width of a `rich` console.

    Args:
        columns: the columns.
        rows: for each row, a text for each column.
        title: a line above the table.
        notes: lines below the table.
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
            width: the maximum width of a line. Defaults to `None`: no limit.
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
            widths, gap = self._column_widths(options.max_width)
            yield self._rich_table(widths, gap)
            left_out = [
                c for i, c in enumerate(self.columns) if i not in widths
            ]
            if left_out:
                names = ", ".join(
                    c.heading.replace("\n", " ") for c in left_out
                )
                notes.insert(0, f"Left out for lack of width: {names}.")
        for note in notes:
            yield Text(_printable(note))

    def _rich_table(self, widths: dict[int, int], gap: int) -> RichTable:
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

    def _column_widths(self, width: int) -> tuple[dict[int, int], int]:
        """The widths of the columns that fit into `width`, and their gap.

        If the table is too wide, the gap is narrowed first. Then names are
        shortened and texts wrapped. Then columns of high rank are dropped.
        Finally names and texts are cut beyond what is readable.
        """
        cells = self._cells()
        full_widths = [
            max(map(_text_width, [column.heading, *texts]))
            for column, texts in zip(self.columns, cells, strict=True)
        ]
        widths = dict(enumerate(full_widths))
        for gap in (2, 1):
            if _total_width(widths, gap) <= width:
                return widths, gap
        for i, column in enumerate(self.columns):
            if column.kind == "name":
                least = narrowest_distinct_width(cells[i])
                widths[i] = max(least, _text_width(column.heading))
            elif column.kind == "text":
                texts = [column.heading, *cells[i]]
                words = [word for text in texts for word in text.split()]
                widths[i] = max(map(cell_len, words), default=0)
        by_rank = sorted(widths, key=lambda i: (self.columns[i].rank, i))
        while (
            _total_width(widths, gap) > width and self.columns[by_rank[-1]].rank
        ):
            del widths[by_rank.pop()]
        for kind in ("name", "text"):
            kept = [i for i in widths if self.columns[i].kind == kind]
            _grow({i: full_widths[i] for i in kept}, widths, width, gap)
        for kind, least in (
            ("name", READABLE),
            ("text", _NARROWEST),
            ("name", _NARROWEST),
        ):
            kept = [i for i in widths if self.columns[i].kind == kind]
            _shrink(kept, least, widths, width, gap)
        return widths, gap

    def _cells(self) -> list[list[str]]:
        """The texts of each column, with its total at the end."""
        rows = [*self.rows, [column.total for column in self.columns]]
        return [
            [_printable(row[i]) for row in rows]
            for i in range(len(self.columns))
        ]


def output_console() -> Console:
    """A console on standard output.

    It is as wide as the terminal, or unlimited if the output is piped.
    """
    return Console(width=terminal_width() or _UNLIMITED)


def chosen_console(console: Console | None) -> Console:
    """The user's console; a new one for None."""
    if console is None:
        return output_console()
    return instance_of("console", console, Console, "a `rich.console.Console`")


def terminal_width() -> int | None:
    """The width of the terminal; None if standard output is not a terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


# Markdown takes an underscore between letters or digits literally.
_MARKUP = re.compile(r"[\\`*{}\[\]<>|]|(?<![^\W_])_|_(?![^\W_])")


def escaped(text: str) -> str:
    """`text` with a backslash before characters that are Markdown markup."""
    return _MARKUP.sub(r"\\\g<0>", _printable(text.replace("\n", "; ")))


def _grow(
    full_widths: dict[int, int], widths: dict[int, int], width: int, gap: int
) -> None:
    """Widen columns up to their full widths, the narrowest one each time."""
    for _ in range(width - _total_width(widths, gap)):
        growing = [i for i in full_widths if widths[i] < full_widths[i]]
        if growing:
            widths[min(growing, key=lambda i: widths[i])] += 1


def _shrink(
    columns: list[int],
    least: int,
    widths: dict[int, int],
    width: int,
    gap: int,
) -> None:
    """Narrow columns until the table fits, the widest one each time.

    No column becomes narrower than `least`.
    """
    for _ in range(_total_width(widths, gap) - width):
        shrinking = [i for i in columns if widths[i] > least]
        if shrinking:
            widths[max(shrinking, key=lambda i: widths[i])] -= 1


def _total_width(widths: dict[int, int], gap: int) -> int:
    return sum(widths.values()) + gap * (len(widths) - 1)


def _text_width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _padded(cell: str, width: int, column: Column) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if column.kind == "number" else cell + space


def _printable(text: str) -> str:
    """`text` without control characters, which a layer's name may contain."""
    return "".join(
        c if c.isprintable() or c == "\n" else "\ufffd" for c in text
    )


def _html(text: str) -> str:
    return html.escape(_printable(text)).replace("\n", "<br>")
