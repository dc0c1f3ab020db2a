"""A table fits its console without breaking a name."""

import io
import re

import pytest
from rich.console import Console

from kreg.results.table import Column, Table, output_console

PARTS = ("query", "key", "value")
PATHS = [
    f"transformer/encoder_{i}/attention/{part}/kernel"
    for i in range(3)
    for part in PARTS
]


def table(**options):
    return Table(
        (
            Column("weight", "name", total="total"),
            Column("strength", "text"),
            Column("L1\nnorm", rank=1, total="7"),
            Column("sparsity", total="50.0%"),
            Column("dead\nunits", rank=2),
        ),
        [
            (path, "GroupLasso 0.1 (frozen)", "1.5", "50.0%", "1/2")
            for path in PATHS
        ],
        **options,
    )


def printed(shown, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    return console.file.getvalue()


def rows(text):
    """The first word of each line that shows a weight."""
    return [line.split()[0] for line in text.splitlines() if "kernel" in line]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_names_are_whole_or_shortened_between_their_parts(width):
    text = printed(table(), width)
    names = rows(text)
    assert max(map(len, text.splitlines())) <= width
    assert len(names) == len(PATHS)
    for name, path in zip(names, PATHS, strict=True):
        start, gap, end = name.partition("…")
        assert path.startswith(start)
        assert path.endswith(end)
        assert bool(gap) == (name != path)
        assert start[-1:] in ("/", "") or not gap
        assert end[:1] in ("/", "")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_shortened_names_stay_different(width):
    assert len(set(rows(printed(table(), width)))) == len(PATHS)


def test_less_important_columns_go_first_and_are_named():
    texts = {width: printed(table(), width) for width in (48, 60, 80, 200)}
    assert "units" in texts[200]
    assert "Left out" not in texts[200]
    assert "Left out for lack of width: dead units." in texts[60]
    assert "norm" in texts[60]
    assert "Left out for lack of width: L1 norm, dead units" in texts[48]
    for text in texts.values():
        assert "sparsity" in text
        assert any(line.startswith("total") for line in text.splitlines())


def test_words_are_not_broken_where_there_is_room():
    for width in (48, 60, 80):
        words = printed(table(), width).split()
        assert words.count("GroupLasso") == len(PATHS)
        assert words.count("(frozen)") == len(PATHS)


def test_nothing_is_cut_however_narrow_a_console_is():
    for width in range(1, 60):
        assert printed(table(), width)


def test_text_is_as_wide_as_it_takes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = table().to_text()
    for path in PATHS:
        assert f"{path:44}  GroupLasso 0.1 (frozen)   1.5" in text


def test_output_that_is_piped_is_as_wide_as_it_takes(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    output_console().print(table())
    assert rows(capsys.readouterr().out) == PATHS


def test_a_terminal_keeps_its_width(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    output_console().print(table())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert max(map(len, plain.splitlines())) <= 60


def test_control_characters_are_not_shown():
    odd = Table((Column("name", "name"),), [("a\x1b[31mb\rc",)], notes=["\x07"])
    for text in (odd.to_text(), odd.to_html(), odd.to_markdown()):
        assert not set(text) & set("\x1b\r\x07")


def test_table_without_rows_is_its_notes():
    empty = Table((Column("name", "name"),), [], notes=["nothing to change"])
    assert empty.to_text() == "nothing to change"
    assert "<p>nothing to change</p>" in empty.to_html()


def test_chosen_row_stands_out():
    console = Console(
        file=io.StringIO(), width=200, force_terminal=True, color_system="256"
    )
    console.print(table(chosen=1))
    (line,) = [
        text
        for text in console.file.getvalue().splitlines()
        if PATHS[1] in text
    ]
    assert "\x1b[1m" in line
    assert table(chosen=1).to_text() == table().to_text()
    assert table(chosen=1).to_html().count("<th") > table().to_html().count(
        "<th"
    )


@pytest.mark.parametrize(
    ("names", "width", "short"),
    [
        (["encoder/block/attention/kernel"], 20, ["encoder/…/kernel"]),
        (["kernel"], 20, ["kernel"]),
        (["a/b/kernel", "a/b/c/d/kernel"], 12, ["a/b/kernel", "a/…/d/kernel"]),
        (["a_long_single_name"], 9, ["a_lo…name"]),
        (["a/b/c/kernel"], 8, ["…/kernel"]),
        (["a/b/c/kernel_1"], 9, ["kernel_1"]),
        (
            [f"encoder/b{i}/attention/kernel" for i in range(2)],
            25,
            ["encoder/b0/…/kernel", "encoder/b1/…/kernel"],
        ),
    ],
)
def test_names_lose_their_middle(names, width, short):
    shown = Table((Column("name", "name"),), [(name,) for name in names])
    assert shown.to_text(width).splitlines()[2:] == short


def test_markdown_has_equal_rows_and_no_markup():
    odd = Table(
        (Column("name", "name"), Column("n")),
        [("a|b_c", "1"), ("_d_<b>", "22")],
    )
    lines = odd.to_markdown().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ---------- | --: |"
    assert r"a\|b_c" in lines[2]
    assert r"\_d\_\<b\>" in lines[3]
