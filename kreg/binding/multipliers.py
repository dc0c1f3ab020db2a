"""`Multipliers`: what callbacks steer, as a variable of the model."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import keras

from kreg._types import Tensor
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.schedules.scalar_schedule import value_dtype


class Multipliers:
    """One vector variable with the multipliers of several penalties.

    Each call of `bind` makes one for the penalties that are new.

    Args:
        penalties: the penalties whose multipliers it holds, in order.
    """

    def __init__(self, penalties: Sequence[StrengthRegularizer]) -> None:
        self.variable = keras.Variable(
            [penalty.multiplier for penalty in penalties],
            dtype=value_dtype(),
            trainable=False,
            aggregation="only_first_replica",
            name="kreg_multipliers",
        )
        self._values = [penalty.multiplier for penalty in penalties]
        self._index: WeakKeyDictionary[StrengthRegularizer, int] = (
            WeakKeyDictionary({p: i for i, p in enumerate(penalties)})
        )

    def __contains__(self, penalty: StrengthRegularizer) -> bool:
        return penalty in self._index

    def read(
        self, penalty: StrengthRegularizer, vector: Tensor | None = None
    ) -> Tensor:
        """The multiplier of `penalty`, in the variable or in `vector`.

        Args:
            penalty: one of the penalties.
            vector: the variable's value in the running step. Defaults to
                `None`: the variable itself.
        """
        if vector is None:
            vector = self.variable.value
        return vector[self._index[penalty]]

    def update(self, penalty: StrengthRegularizer) -> None:
        """Write the new value of `penalty.multiplier` to the variable."""
        self._values[self._index[penalty]] = penalty.multiplier
        self.variable.assign(self._values)
