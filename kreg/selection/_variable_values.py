"""The values of variables, taken and put back."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

Values = list[NDArray[Any]]


def values_of(variables: Sequence[keras.Variable]) -> Values:
    """Copies of the values of variables."""
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def assign_values(variables: Sequence[keras.Variable], values: Values) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
