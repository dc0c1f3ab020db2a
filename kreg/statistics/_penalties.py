"""`kreg.penalties`: the penalty of every weight of a model."""

from typing import Any

import keras
from keras import ops

from kreg._arguments import model_with_weights
from kreg._types import Tensor
from kreg.binding.binding import (
    is_suspended,
    own_regularizer,
    weight_optimizers,
)
from kreg.binding.bound_models import at_step
from kreg.binding.ties import Tie, tie_part
from kreg.binding.weights import acting_regularizer
from kreg.layers.weights import layouts_of
from kreg.regularizers.grouping import Layout
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.results.result import ResultWithRows
from kreg.results.table import Column, Table
from kreg.statistics.rows import distinct_paths


class Penalties(ResultWithRows, dict[str, float]):
    """The result of `kreg.penalties`: a dict that prints as a table.

    Example:

    >>> import keras, kreg
    >>> layer = keras.layers.Dense(2, kernel_initializer="ones",
    ...     kernel_regularizer=kreg.L1(0.5), name="hidden")
    >>> model = keras.Sequential([keras.Input((3,)), layer], name="net")
    >>> kreg.penalties(model)
    Penalties(weights=1, total=3)
    """

    def headline(self) -> dict[str, Any]:
        """The number of penalized weights, and their total penalty."""
        return {"weights": len(self), "total": sum(self.values())}

    def table(self) -> Table:
        """A row for each weight, and the total."""
        columns = (
            Column("weight", "name", total="total"),
            Column("penalty", total=f"{sum(self.values()):.4g}"),
        )
        rows = [(path, f"{penalty:.4g}") for path, penalty in self.items()]
        return Table(columns, rows, notes=[] if rows else ["no penalties"])

    def records(self) -> list[dict[str, Any]]:
        """The path and the penalty of each weight."""
        return [
            {"path": path, "penalty": penalty} for path, penalty in self.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """A plain dict with the same content."""
        return dict(self)


def penalties(model: keras.Model) -> Penalties:
    """The penalty that each weight, and each tie, adds to the loss now.

    The schedule of each weight is read at the iteration of the optimizer that
    updates it, or at 0 without an optimizer. The model need not be bound.
    Regularizers other than kreg's are included. Frozen weights are left out,
    because they have no penalty, and so are penalties on activities, because
    they depend on a batch. A penalty that ties weights, such as
    `kreg.GroupLasso(1e-4, "heads")`, has one entry for each tie, under the path
    of its layer and the name of its groups.

    Args:
        model: a `keras.Model` with weights.

    Returns:
        `Penalties`, a dict from `variable.path` to a float, in the order of
        `model.trainable_weights`, that prints as a table. If several weights
        have the same path, the later ones are called `path#2`, `path#3` and
        so on.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if it is not built.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential(name="net")
    >>> model.add(keras.layers.Dense(2, kernel_initializer="ones",
    ...     kernel_regularizer=kreg.L1(0.5), name="hidden"))
    >>> model.build((None, 3))
    >>> kreg.penalties(model)["net/hidden/kernel"]
    3.0
    """
    model_with_weights(model)
    optimizers = weight_optimizers(model)
    layouts = layouts_of(model)
    penalized = [
        v
        for v in model.trainable_weights
        if acting_regularizer(v, layouts.get(id(v))) is not None
    ]
    values: dict[int, Tensor] = {}
    named: list[keras.Variable | Tie] = []
    for variable in penalized:
        part, step = tie_part(variable), optimizers.step_of(id(variable))
        if part is None:
            layout = layouts.get(id(variable))
            value = weight_penalty(variable, layout, step)
        elif id(part.tie) in values:
            continue
        else:
            value = part.tie.penalty_at(step)
        named.append(variable if part is None else part.tie)
        values[id(named[-1])] = value
    return Penalties(
        (path, float(ops.convert_to_numpy(value)))
        for path, value in zip(
            distinct_paths(named), values.values(), strict=True
        )
    )


def weight_penalty(
    variable: keras.Variable, layout: Layout | None, step: Tensor
) -> Tensor:
    """The penalty of one weight, whether its regularizer is bound or not.

    The penalty of a tie is attributed to its first weight.

    Args:
        variable: a weight with a regularizer.
        layout: the meaning of its axes in its layer, or None if unknown.
        step: the iteration of the optimizer that updates it.
    """
    regularizer = own_regularizer(variable)
    part = tie_part(variable)
    if is_suspended(variable):
        return ops.zeros(())
    if part is not None:
        return part.tie.penalty_at(step) if part.is_first else ops.zeros(())
    if not isinstance(regularizer, StrengthRegularizer):
        with at_step(step):
            return variable.regularizer(variable)
    groups = regularizer.grouping(tuple(variable.shape), layout)
    return regularizer.evaluate(variable, step, regularizer.multiplier, groups)
