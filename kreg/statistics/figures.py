"""The table of figures: what a reading measures of weights, layers and models.

A row says how a figure is measured, how the figures of several weights are
combined, what the figure is called and where it is logged. A new row is a new
attribute of all readings, a column of `to_dict` and a curve in TensorBoard.
"""

import math
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, overload

from keras import ops

from kreg.statistics.measures import (
    EntryMeasure,
    WeightMeasure,
    dead_inputs,
    dead_units,
    penalty_values,
    squared_residuals,
    squared_scales,
)
from kreg.statistics.rows import Row

T = TypeVar("T")
C = TypeVar("C")
Place = Literal["model", "layer", "weight"]

EVERYWHERE: frozenset[Place] = frozenset(("model", "layer", "weight"))


def added(values: Sequence[Any]) -> Any:
    """The sum of the values that are not None."""
    return sum(value for value in values if value is not None)


def added_if_all_known(values: Sequence[Any]) -> Any:
    """The sum; None if any value is None."""
    return None if None in values else sum(values)


def root_of_squares(values: Sequence[float]) -> float:
    """`sqrt(sum(values ** 2))`: the L2 norm of a whole from those of parts."""
    return math.sqrt(math.fsum(value**2 for value in values))


def root_if_all_known(values: Sequence[float | None]) -> float | None:
    """`root_of_squares`; None if there are no values or any is None."""
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return None
    return root_of_squares(numbers)


def largest(values: Sequence[float]) -> float:
    """The largest value; NaN if any is NaN, 0 if there are none."""
    if any(math.isnan(value) for value in values):
        return math.nan
    return max(values, default=0.0)


@dataclass(frozen=True, kw_only=True)
class MeasuredWeight:
    """The measurements of one weight, from which its figures are computed.

    Args:
        row: the weight.
        measured: the numbers from the pass, by the names of figures.
        penalty: the penalty of its regularizer, of any kind.
        loss: the data loss plus all penalties; None if unknown.
        has_before: whether the weight before its last update was known.
        gradient: which gradient is known: `"data"`, `"total"` or None; see
            `WeightKind`.
        has_residual: whether its optimality residual can be computed if its
            gradient is known. In a tie this needs the gradients of all weights.
    """

    row: Row
    measured: Mapping[str, Any]
    penalty: float
    loss: float | None
    has_before: bool
    gradient: str | None
    has_residual: bool = True


@dataclass(eq=False, kw_only=True)
class Figure(Generic[T]):
    """A row of the table, which is also the attribute of readings.

    There are two kinds. A figure with a `formula` is computed from other
    figures, in the same way for a weight, a layer and a model. Any other figure
    is measured for each weight, and `together` combines several weights.

    Args:
        title: the name in TensorBoard.
        meaning: the documentation, one line.
        unit: `"norm"`, `"count"`, `"fraction"` or `"loss"`.
        formula: computes the figure from other figures of a reading.
        measure: measures the figure in the pass over the weights.
        of_weight: computes the figure of one weight. Defaults to `None`: the
            figure is the measured number.
        together: computes the figure of a layer or model from the figures of
            its weights. Defaults to their sum.
        trained_only: whether `together` leaves out frozen weights.
        by_layer: whether the figure of a layer is measured, not computed from
            those of its weights. The figure of a model is then computed from
            those of its layers.
        dtype: `float` or `int`, the type of the measured number.
        logged: where a monitor logs the figure. Defaults to nowhere.
        logged_for: `"regularizer"` or `"units"`: a monitor logs the figure only
            for weights that have one, and for layers with such a weight.
            Defaults to `None`: for all.
        has_chart: whether Custom Scalars shows the figure of all weights in one
            chart.
    """

    title: str
    meaning: str
    unit: Literal["norm", "count", "fraction", "loss"]
    formula: Callable[[Any], T] | None = None
    measure: EntryMeasure | WeightMeasure | None = None
    of_weight: Callable[[MeasuredWeight], T] | None = None
    together: Callable[[Sequence[Any]], Any] = added
    trained_only: bool = False
    by_layer: bool = False
    dtype: type[float] | type[int] = float
    logged: frozenset[Place] = frozenset()
    logged_for: Literal["regularizer", "units"] | None = None
    has_chart: bool = False
    name: str = field(init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.__doc__ = self.meaning

    @overload
    def __get__(self, reading: None, owner: type) -> "Figure[T]": ...

    @overload
    def __get__(self, reading: "Figures", owner: type) -> T: ...

    def __get__(self, reading: "Figures | None", owner: type) -> Any:
        if reading is None:
            return self
        if self.formula is not None:
            return self.formula(reading)
        return reading.value_of(self)

    def value(self, weight: MeasuredWeight) -> T:
        """The figure of one weight."""
        if self.of_weight is not None:
            return self.of_weight(weight)
        number: T = weight.measured[self.name]
        return number


def ratio(part: float, whole: float) -> float:
    """`part / whole`; 0 if both are 0, infinite if only `whole` is."""
    if whole == 0.0:
        return 0.0 if part == 0.0 else math.inf
    return part / whole


def _root(name: str) -> Callable[[MeasuredWeight], float]:
    return lambda weight: math.sqrt(weight.measured[name])


class Figures(ABC):
    """The figures of a reading, each an attribute of its name."""

    @abstractmethod
    def value_of(self, figure: Figure[Any]) -> Any:
        """The value of a figure without a formula."""

    size = Figure[int](
        title="Size",
        meaning="The number of entries.",
        unit="count",
        of_weight=lambda weight: weight.row.size,
        dtype=int,
    )
    zeros = Figure[int](
        title="Zeros",
        meaning="How many entries are exactly 0.0.",
        unit="count",
        measure=EntryMeasure(
            lambda e: ops.cast(ops.equal(e.stored, 0), "int32")
        ),
        dtype=int,
    )
    near_zeros = Figure[int](
        title="Near zeros",
        meaning="How many entries have `abs(w) <= threshold`, with zeros.",
        unit="count",
        measure=EntryMeasure(
            lambda e: ops.cast(ops.less_equal(e.size, e.threshold), "int32")
        ),
        dtype=int,
    )
    sparsity = Figure[float](
        title="Sparsity",
        meaning="The fraction of entries that are exactly 0.0.",
        unit="fraction",
        formula=lambda r: r.zeros / r.size if r.size else 0.0,
        logged=EVERYWHERE,
        has_chart=True,
    )
    penalty = Figure[float](
        title="Penalty",
        meaning="The value of the regularizer; 0 for frozen weights.",
        unit="loss",
        measure=WeightMeasure(penalty_values),
        of_weight=lambda weight: weight.penalty,
        logged=EVERYWHERE,
        logged_for="regularizer",
        has_chart=True,
    )
    penalty_share = Figure[float | None](
        title="Penalty share",
        meaning="The penalty as a fraction of the whole loss; None where the "
        "data loss is not known.",
        unit="fraction",
        of_weight=lambda weight: (
            None if weight.loss is None else ratio(weight.penalty, weight.loss)
        ),
        together=added_if_all_known,
        logged=EVERYWHERE,
        logged_for="regularizer",
    )
    l2_norm = Figure[float](
        title="L2 norm",
        meaning="`sqrt(sum(w ** 2))`.",
        unit="norm",
        measure=EntryMeasure(lambda e: ops.square(e.w)),
        of_weight=_root("l2_norm"),
        together=root_of_squares,
        logged=EVERYWHERE,
        has_chart=True,
    )
    l1_norm = Figure[float](
        title="L1 norm",
        meaning="`sum(abs(w))`.",
        unit="norm",
        measure=EntryMeasure(lambda e: e.size),
        logged=EVERYWHERE,
        has_chart=True,
    )
    max_norm = Figure[float](
        title="Largest entry",
        meaning="`max(abs(w))`; 0 without entries.",
        unit="norm",
        measure=EntryMeasure(lambda e: e.size, is_maximum=True),
        together=largest,
        logged=EVERYWHERE,
        has_chart=True,
    )
    rms = Figure[float](
        title="RMS",
        meaning="`sqrt(mean(w ** 2))`; 0 without entries.",
        unit="norm",
        formula=lambda r: r.l2_norm / math.sqrt(r.size) if r.size else 0.0,
        logged=frozenset(("layer", "weight")),
    )
    dead_units = Figure[int | None](
        title="Dead units",
        meaning="How many output channels have only zeros as incoming weights; "
        "the second kernel of a recurrent cell may still feed them.",
        unit="count",
        measure=WeightMeasure(dead_units),
        of_weight=lambda weight: (
            weight.measured["dead_units"] if weight.row.units else None
        ),
        by_layer=True,
        dtype=int,
        logged=EVERYWHERE,
        logged_for="units",
        has_chart=True,
    )
    dead_inputs = Figure[int | None](
        title="Dead inputs",
        meaning="How many input channels have only zeros as outgoing weights.",
        unit="count",
        measure=WeightMeasure(dead_inputs),
        of_weight=lambda weight: (
            weight.measured["dead_inputs"] if weight.row.inputs else None
        ),
        dtype=int,
        logged=frozenset(("weight",)),
    )
    near_zero = Figure[float](
        title="Near zero",
        meaning="The fraction of entries with `abs(w) <= threshold`.",
        unit="fraction",
        formula=lambda r: r.near_zeros / r.size if r.size else 0.0,
        logged=EVERYWHERE,
        has_chart=True,
    )
    update_norm = Figure[float | None](
        title="Update norm",
        meaning="The L2 norm of the last update; None where the weight "
        "before it is not known.",
        unit="norm",
        measure=EntryMeasure(
            lambda e: None if e.moved is None else ops.square(e.moved)
        ),
        of_weight=lambda weight: (
            math.sqrt(weight.measured["update_norm"])
            if weight.has_before
            else None
        ),
        together=root_if_all_known,
    )
    update_ratio = Figure[float | None](
        title="Update ratio",
        meaning="The L2 norm of the last update over that of the weight.",
        unit="fraction",
        formula=lambda r: (
            None if r.update_norm is None else ratio(r.update_norm, r.l2_norm)
        ),
        logged=EVERYWHERE,
        has_chart=True,
    )
    gradient_norm = Figure[float | None](
        title="Gradient norm",
        meaning="The L2 norm of the gradient of the data loss, as the "
        "optimizer averages it; None where it keeps no such average.",
        unit="norm",
        measure=EntryMeasure(
            lambda e: None if e.memory is None else ops.square(e.memory),
            factor=squared_scales,
        ),
        of_weight=lambda weight: (
            math.sqrt(weight.measured["gradient_norm"])
            if weight.gradient == "data"
            else None
        ),
        together=root_if_all_known,
        trained_only=True,
        logged=frozenset(("weight",)),
    )
    optimality = Figure[float | None](
        title="Optimality",
        meaning="How far from a minimum of the data loss plus the penalty: "
        "the L2 norm of `(w - p) / t`, where `p` is the proximal step of "
        "`w - t * gradient`. None without a gradient.",
        unit="norm",
        measure=WeightMeasure(squared_residuals),
        of_weight=lambda weight: (
            math.sqrt(weight.measured["optimality"])
            if weight.gradient and weight.has_residual
            else None
        ),
        together=root_if_all_known,
        trained_only=True,
        logged=EVERYWHERE,
        has_chart=True,
    )


FIGURES: tuple[Figure[Any], ...] = tuple(
    row for row in vars(Figures).values() if isinstance(row, Figure)
)
"""All rows, in the order of the table."""

MEASURED = tuple(figure for figure in FIGURES if figure.measure is not None)
"""The rows that the pass over the weights measures."""


def logged_figures(place: Place) -> list[Figure[Any]]:
    """The figures that a monitor logs for a model, a layer or a weight."""
    return [figure for figure in FIGURES if place in figure.logged]


def with_figures(cls: type[C]) -> type[C]:
    """A class decorator that adds the table to the class's docstring."""
    lines = [
        textwrap.fill(
            f"{figure.name}: {figure.meaning}",
            width=80,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
        )
        for figure in FIGURES
    ]
    section = "\n".join(["    Attributes:", *lines])
    cls.__doc__ = f"{cls.__doc__ or ''}\n{section}\n    "
    return cls
