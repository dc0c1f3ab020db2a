"""A comparison as a table for people."""

import math
from typing import TYPE_CHECKING

from kreg.selection._verdict import Comparison

if TYPE_CHECKING:
    from rich.table import Table

    from kreg.selection._compare_result import CompareResult


def compare_table(result: "CompareResult") -> "Table":
    """The choice of each penalty, and its difference from the chosen one.

    Args:
        result: a `CompareResult`.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    paths = result.folds * len(result.seeds)
    table = Table(
        title=f"{escape(result.monitor)} of what {paths} folds left out",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("penalty", overflow="fold", min_width=7)
    for heading in (
        "strength",
        "mean",
        "std.\nerror",
        "best\nmean",
        "zeros",
        f"difference from\n{escape(result.chosen_penalty)}, CI (Holm)",
        "p\n(Holm)",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, index in result.choices.items():
        row = result.rows[index]
        is_chosen = name == result.chosen_penalty
        difference = ("", "") if is_chosen else _difference(result, name)
        table.add_row(
            escape(name),
            f"{row.strength:.3g}",
            f"{row.mean:.4g}",
            f"{row.standard_error:.2g}",
            f"{result.best(name).mean:.4g}",
            f"{row.sparsity:.1%}",
            *difference,
            style="bold" if is_chosen else None,
        )
    return table


def _difference(result: "CompareResult", name: str) -> tuple[str, str]:
    for pair in result.comparisons:
        if {pair.first, pair.second} == {name, result.chosen_penalty}:
            return _texts(pair, 1.0 if pair.first == name else -1.0)
    return "", ""


def _texts(pair: Comparison, sign: float) -> tuple[str, str]:
    if math.isnan(pair.difference):
        return "not known", ""
    difference = sign * pair.difference
    low, high = sorted((sign * pair.low, sign * pair.high))
    half = (high - low) / 2
    if half == 0.0:
        return f"{difference:+.3g}", f"{pair.adjusted_p_value:.2g}"
    if not 1e-6 < half < 1e6:
        text = f"{difference:+.2g} [{low:+.2g}, {high:+.2g}]"
    else:
        # Two digits of how wide the interval is.
        decimals = max(0, 1 - math.floor(math.log10(half)))
        text = (
            f"{difference:+.{decimals}f} "
            f"[{low:+.{decimals}f}, {high:+.{decimals}f}]"
        )
    return text, f"{pair.adjusted_p_value:.2g}"
