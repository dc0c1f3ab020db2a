"""The multipliers of a model's penalties, where a compiled step sees them."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import keras

from kreg._types import Tensor
from kreg.regularizers import Penalty
from kreg.schedules._scalar import value_dtype


class Multipliers:
    """One vector variable for the penalties of one call of `bind`.

    Args:
        penalties: the penalties whose multipliers it holds, in order.
    """

    def __init__(self, penalties: Sequence[Penalty]) -> None:
        self.variable = keras.Variable(
            [penalty.multiplier for penalty in penalties],
            dtype=value_dtype(),
            trainable=False,
            aggregation="only_first_replica",
            name="kreg_multipliers",
        )
        self._values = [penalty.multiplier for penalty in penalties]
        self._index: WeakKeyDictionary[Penalty, int] = WeakKeyDictionary(
            {penalty: i for i, penalty in enumerate(penalties)}
        )

    def __contains__(self, penalty: Penalty) -> bool:
        return penalty in self._index

    def read(self, penalty: Penalty, vector: Tensor | None = None) -> Tensor:
        """The multiplier of `penalty`, of `vector` in the variable's place."""
        if vector is None:
            vector = self.variable.value
        return vector[self._index[penalty]]

    def update(self, penalty: Penalty) -> None:
        """Take over the new value of `penalty.multiplier`."""
        self._values[self._index[penalty]] = penalty.multiplier
        self.variable.assign(self._values)
