"""A comparison as a table on a terminal."""

import io

import pytest
from rich.console import Console

from kreg.selection import CompareResult, CompareRow, Comparison

NAMES = ("none", "GroupLasso", "L1L2")


def result_of(ends):
    """Three penalties; `ends` are the differences of the first two."""
    rows = tuple(
        CompareRow(
            penalty=name,
            strength=0.0951,
            mean=0.51234,
            standard_error=0.01712,
            scores=(0.5, 0.6),
            train_mean=0.4,
            sparsity=1.0,
            nonzeros=5.0,
            dead_units=1.0,
            epochs=3.0,
            seconds=1.0,
        )
        for name in NAMES
    )
    low, difference, high = ends
    pair = Comparison(
        first=NAMES[0],
        second=NAMES[1],
        difference=difference,
        low=low,
        high=high,
        level=0.95,
        p_value=0.0123,
        adjusted_p_value=0.0371,
        significant=True,
    )
    return CompareResult(
        rows=rows,
        penalties=dict.fromkeys(NAMES, "text"),
        monitor="data_loss",
        select="best",
        folds=2,
        seeds=(0,),
        choices={name: i for i, name in enumerate(NAMES)},
        chosen_penalty=NAMES[0],
        comparisons=(pair,),
        verdict="",
    )


def printed(result, width=80):
    text = io.StringIO()
    result.print(console=Console(file=text, width=width))
    return text.getvalue()


def test_nothing_is_cut_off_on_80_columns():
    text = printed(result_of((-0.0731, -0.01124, 0.0507)))
    assert "…" not in text
    row = next(line for line in text.splitlines() if "GroupLasso" in line)
    assert row.split() == [
        *("GroupLasso", "0.0951", "0.5123", "0.017", "0.5123", "100.0%"),
        *("+0.011", "[-0.051,", "+0.073]", "0.037"),
    ]


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((-0.0731, -0.01124, 0.0507), "+0.011 [-0.051, +0.073]"),
        ((-31.0, -20.0, -9.0), "+20 [+9, +31]"),
        ((-3e-9, -2e-9, -1e-9), "+2e-09 [+1e-09, +3e-09]"),
        ((0.5, 0.5, 0.5), "-0.5 "),
        ((float("nan"),) * 3, "not known"),
    ],
)
def test_differences_have_the_digits_that_their_intervals_allow(ends, shown):
    assert shown in printed(result_of(ends))
