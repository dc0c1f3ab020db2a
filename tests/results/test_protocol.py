"""Every result is shown, taken apart and saved in the same way."""

import inspect
import json
import sys
from html.parser import HTMLParser

import pytest
from results.shown_results import ODD, RESULTS

import kreg
from kreg.results.result import Result, ResultWithRows, SavedResult

_made = {}


def shown(name):
    """A result, made once, and what it offers."""
    if name not in _made:
        _made[name] = RESULTS[name].result()
    return _made[name], RESULTS[name]


every_result = pytest.mark.parametrize("name", RESULTS)
with_rows = pytest.mark.parametrize(
    "name", [n for n, s in RESULTS.items() if s.records is not None]
)
saved = pytest.mark.parametrize(
    "name", [n for n, s in RESULTS.items() if s.is_saved]
)


def subclasses(kind):
    for cls in kind.__subclasses__():
        yield cls
        yield from subclasses(cls)


def test_table_has_every_class():
    classes = {cls for cls in subclasses(Result) if not inspect.isabstract(cls)}
    assert classes == {type(shown(name)[0]) for name in RESULTS}


@every_result
def test_offers_are_those_of_its_class(name):
    result, offers = shown(name)
    assert isinstance(result, ResultWithRows) == (offers.records is not None)
    assert isinstance(result, SavedResult) == offers.is_saved


@every_result
def test_repr_is_one_short_line(name):
    result, _ = shown(name)
    text = repr(result)
    assert text.startswith(f"{type(result).__name__}(")
    assert text.endswith(")")
    assert len(text) < 200
    assert "\n" not in text


@every_result
def test_text_has_no_escape_codes(name, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "\x1b" not in str(shown(name)[0])


@every_result
def test_text_that_is_piped_names_everything_in_full(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    result, offers = shown(name)
    assert (ODD in str(result)) == offers.has_name


@every_result
def test_text_fits_into_the_terminal(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    result, _ = shown(name)
    if name != "finding":  # a sentence
        assert max(map(len, str(result).splitlines())) <= 60


@every_result
def test_text_is_that_of_the_table(name):
    result, offers = shown(name)
    if name == "finding":  # a sentence
        assert "\n" not in str(result)
        return
    rows = result.table().rows
    assert str(result) == result.table().to_text()
    if offers.rows is not None:
        assert len(rows) == offers.rows
    for row in rows:
        for cell in row:
            for line in cell.split("\n"):
                assert line in str(result)


@every_result
def test_dict_is_fit_for_json(name):
    result, _ = shown(name)
    record = result.to_dict()
    assert type(record) is dict
    assert json.loads(json.dumps(record)) == record


@saved
def test_file_holds_all_of_it(name, tmp_path):
    result, _ = shown(name)
    path = tmp_path / "result.json"
    result.save(path)
    loaded = type(result).load(path)
    assert type(loaded) is type(result)
    assert loaded.to_dict() == result.to_dict()
    assert str(loaded) == str(result)
    assert repr(loaded) == repr(result)


@saved
def test_file_is_replaced_and_its_neighbours_stay(name, tmp_path):
    result, _ = shown(name)
    path, other = tmp_path / "result.json", tmp_path / "result.txt"
    path.write_text("before")
    other.write_text("other")
    result.save(str(path))
    type(result).load(str(path))
    assert other.read_text() == "other"


@with_rows
def test_data_frame_has_a_row_for_each_record(name):
    pytest.importorskip("pandas")
    result, offers = shown(name)
    frame = result.to_pandas()
    assert len(frame) == offers.records
    assert frame.to_dict("records")
    assert list(frame.columns) == list(result.records()[0])


@with_rows
def test_pandas_is_named_where_it_is_absent(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        shown(name)[0].to_pandas()


class Page(HTMLParser):
    """What a browser would make of some HTML."""

    ALLOWED = frozenset(
        ("table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "p")
    )

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.texts = [], 0, []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag == "br":
            return
        assert tag in self.ALLOWED
        self.rows += tag == "tr" and "tbody" in self.open
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@every_result
def test_notebook_shows_the_rows_of_the_table(name):
    result, offers = shown(name)
    page = Page(result._repr_html_())
    assert page.rows == len(result.table().rows)
    assert any(ODD in text for text in page.texts) == offers.has_name


@pytest.mark.parametrize("name", ["changes", "findings"])
def test_lists_of_records_are_sequences(name):
    result, offers = shown(name)
    assert len(result) == len(list(result)) == offers.rows
    assert result[0] == next(iter(result))
    assert result[0] in result
    assert tuple(result[:1]) == (result[0],)


def test_findings_are_a_tuple():
    findings, _ = shown("findings")
    assert findings == tuple(findings)
    assert kreg.statistics.Findings() == ()
    assert str(kreg.statistics.Findings()) == "nothing is wrong"


def test_penalties_are_a_dict():
    penalties, _ = shown("penalties")
    assert penalties == dict(penalties)
    assert [path.split("/")[-2:] for path in penalties] == [
        [f"{ODD}".split("/")[-1], "kernel"]
    ]


def test_weights_are_saved_beside(tmp_path):
    for name in ("path", "compare"):
        result, _ = shown(name)
        result.save(tmp_path / f"{name}.json")
        loaded = type(result).load(tmp_path / f"{name}.json")
        assert (tmp_path / f"{name}.npz").exists()
        assert len(loaded.weights) == len(result.weights)
