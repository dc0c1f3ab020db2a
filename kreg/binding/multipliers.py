"""`Multipliers`: the multipliers that callbacks steer, as Keras variables."""

from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from kreg._types import Tensor
from kreg.foreign_objects import result_or_none
from kreg.regularizers.strength_regularizer import (
    MEMORY_SIZE,
    StrengthRegularizer,
)
from kreg.schedules.scalar_schedule import value_dtype


class Multipliers:
    """The multipliers of several penalties, and the memory of their callbacks.

    A compiled step reads the multipliers from one vector variable. A second
    variable holds their exact values, for checkpoints that save variables.
    Each call of `bind` creates one object for the penalties that are new.

    Args:
        penalties: the penalties whose multipliers it holds, in order.
        name: the prefix of the names of the variables.
    """

    def __init__(
        self, penalties: Sequence[StrengthRegularizer], name: str
    ) -> None:
        self._index: WeakKeyDictionary[StrengthRegularizer, int] = (
            WeakKeyDictionary({p: i for i, p in enumerate(penalties)})
        )
        self._rows = np.full((len(penalties), 1 + MEMORY_SIZE), np.nan)
        for penalty in penalties:
            self._write_row(penalty, *penalty.steering)
        self.variable = keras.Variable(
            self._rows[:, 0],
            dtype=value_dtype(),
            trainable=False,
            aggregation="only_first_replica",
            name=f"{name}_multipliers",
        )
        self.exact = keras.Variable(
            _bits(self._rows),
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name=f"{name}_steering",
        )

    def __contains__(self, penalty: StrengthRegularizer) -> bool:
        return penalty in self._index

    def read(
        self, penalty: StrengthRegularizer, vector: Tensor | None = None
    ) -> Tensor:
        """The multiplier of `penalty`, from the variable or from `vector`.

        Args:
            penalty: one of the penalties.
            vector: the variable's value in the running step. Defaults to
                `None`: the variable itself.
        """
        if vector is None:
            vector = self.variable.value
        return vector[self._index[penalty]]

    def update(
        self,
        penalty: StrengthRegularizer,
        multiplier: float,
        memory: Sequence[float],
    ) -> None:
        """Write the new steering of `penalty` to the variables."""
        before = self._rows[self._index[penalty], 0]
        self._write_row(penalty, multiplier, memory)
        if multiplier != before:
            self.variable.assign(self._rows[:, 0])
        self.exact.assign(_bits(self._rows))

    def refresh(self) -> None:
        """Set the multipliers of the penalties from a restored checkpoint."""
        # On JAX the variables of a model are lost if one of its steps raises.
        bits = result_or_none(partial(ops.convert_to_numpy, self.exact))
        if bits is None or np.array_equal(bits, _bits(self._rows)):
            return
        self._rows = _numbers(bits)
        self.variable.assign(self._rows[:, 0])
        for penalty, i in list(self._index.items()):
            multiplier, *memory = self._rows[i].tolist()
            penalty.steer(multiplier, memory)

    def _write_row(
        self,
        penalty: StrengthRegularizer,
        multiplier: float,
        memory: Sequence[float],
    ) -> None:
        row = self._rows[self._index[penalty]]
        row[:] = np.nan
        row[0] = multiplier
        row[1 : 1 + len(memory)] = memory


def _bits(numbers: np.ndarray) -> np.ndarray:
    """The bits of float64 numbers as integers, which every backend has."""
    return numbers.view(np.int32).reshape(*numbers.shape, 2)


def _numbers(bits: np.ndarray) -> np.ndarray:
    """The float64 numbers with these bits."""
    numbers: np.ndarray = np.array(bits, np.int32).view(np.float64)[..., 0]
    return numbers
