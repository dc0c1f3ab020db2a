"""What plots read from a path or a comparison: one curve a penalty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kreg.selection._compare_result import CompareResult
from kreg.selection._path_result import PathResult


@dataclass(frozen=True)
class Curve:
    """The validation figures of one penalty.

    Args:
        label: the name of the penalty.
        strengths: rising; the one strength 0.0 where there is no penalty.
        means: the monitor at each.
        errors: the standard error of each, None for a single run.
        sparsities: the sparsity at each.
        chosen: the index of the strength that is chosen.
    """

    label: str
    strengths: Sequence[float]
    means: Sequence[float]
    errors: Sequence[float] | None
    sparsities: Sequence[float]
    chosen: int


def curves_of(result: Any) -> list[Curve]:
    """The curves of a path or a comparison, the chosen penalty last.

    Raises:
        TypeError: if `result` is neither.
        ValueError: if a path has no validation figures.
    """
    if isinstance(result, PathResult):
        return [_curve_of_path(result)]
    if isinstance(result, CompareResult):
        names = sorted(
            result.penalties, key=lambda name: name == result.chosen_penalty
        )
        return [_curve_of_penalty(result, name) for name in names]
    raise TypeError(
        "`result` must be a `PathResult` or a `CompareResult`. "
        f"Received: result of type {type(result).__name__}"
    )


def _curve_of_path(result: PathResult) -> Curve:
    best = result.best()
    points = sorted(result.points, key=lambda point: point.strength)
    return Curve(
        label=result.penalty.split("(")[0],
        strengths=[point.strength for point in points],
        means=[p.validation.get(result.monitor, math.nan) for p in points],
        errors=None,
        sparsities=[point.sparsity for point in points],
        chosen=next(i for i, point in enumerate(points) if point is best),
    )


def _curve_of_penalty(result: CompareResult, name: str) -> Curve:
    rows = sorted(result.rows_of(name), key=lambda row: row.strength)
    choice = result.rows[result.choices[name]]
    return Curve(
        label=name,
        strengths=[row.strength for row in rows],
        means=[row.mean for row in rows],
        errors=[row.standard_error for row in rows],
        sparsities=[row.sparsity for row in rows],
        chosen=rows.index(choice),
    )
