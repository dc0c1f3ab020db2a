"""`Row`: one weight of a model with its layer, layout and regularizer."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import regularizers

from kreg._keras_private import own_trainable_variables
from kreg.binding.binding import is_suspended
from kreg.binding.ties import Tie, TiePart, tie_part
from kreg.binding.weights import acting_regularizer
from kreg.foreign_objects import attribute_or_none, float_or_nan
from kreg.layers.weights import layout_of, owners_of
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Grouping, Layout
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.statistics.quantized import dequantized_weights


def distinct_paths(named: Iterable[keras.Variable | Tie]) -> list[str]:
    """The path of each variable, with `#2`, `#3`, ... added to repeated ones.

    Args:
        named: the variables, or ties, in order.

    Returns:
        A different string for each of them.
    """
    seen: dict[str, int] = {}
    names = []
    for variable in named:
        path = variable.path
        seen[path] = seen.get(path, 0) + 1
        names.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
    return names


_NORMS = (regularizers.L1, regularizers.L2, regularizers.L1L2)


def keras_strengths(regularizer: Any) -> dict[str, float]:
    """`l1` and `l2` of Keras's own L1, L2 or L1L2; empty for anything else."""
    for norm in _NORMS:
        if isinstance(regularizer, norm) and (
            type(regularizer).__call__ is norm.__call__
        ):
            return {
                name: float_or_nan(attribute_or_none(regularizer, name))
                for name in ("l1", "l2")
                if name in vars(regularizer)
            }
    return {}


@dataclass(frozen=True)
class Row:
    """One weight of a model.

    Args:
        variable: the weight.
        shape: its shape.
        layer: a number that identifies the layer that made the weight.
        layout: the meaning of its axes in that layer.
        regularizer: the object that the user set, bound or not, or None.
        suspended: whether `kreg.freeze_support` has switched its penalty off.
        part: the weight's part of a tie; None if its regularizer is on this
            weight alone.
    """

    variable: keras.Variable
    shape: tuple[int, ...]
    layer: int
    layout: Layout
    regularizer: Any
    suspended: bool
    part: TiePart | None = None

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def units(self) -> Grouping | None:
        """The incoming weights of each output channel of a kernel.

        None for other weights: a bias belongs to units, but is not an incoming
        weight.
        """
        return self.layout.units if self.layout.inputs else None

    @property
    def inputs(self) -> Grouping | None:
        """The outgoing weights of each input channel of a kernel, or None."""
        return self.layout.inputs

    @property
    def strength_regularizer(self) -> StrengthRegularizer | None:
        """The regularizer if it is kreg's, else None."""
        regularizer = self.regularizer
        return (
            regularizer
            if isinstance(regularizer, StrengthRegularizer)
            else None
        )

    @property
    def penalty(self) -> Penalty | None:
        """The kreg penalty with a proximal step on this weight alone."""
        regularizer = self.regularizer
        is_own = isinstance(regularizer, Penalty) and self.part is None
        return regularizer if is_own else None

    @property
    def is_penalized(self) -> bool:
        """Whether a regularizer of any kind adds to the loss now."""
        return (
            self.regularizer is not None
            and bool(self.variable.trainable)
            and not self.suspended
        )


def rows_of(model: keras.Model) -> Iterator[Row]:
    """A row for every weight of `model` that can be trained, by layer.

    A weight that several layers share has one row. A quantized weight has a row
    with its dequantized values. The scales of float8 training are left out,
    though Keras lists them as trainable.
    """
    for variable, layer in owners_of(model, _read_weights).values():
        if not variable.overwrite_with_gradient:
            layout = layout_of(layer, variable)
            yield Row(
                variable,
                tuple(variable.shape),
                id(layer),
                layout,
                acting_regularizer(variable, layout),
                is_suspended(variable),
                tie_part(variable),
            )


def _read_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    return [*dequantized_weights(layer), *own_trainable_variables(layer)]
