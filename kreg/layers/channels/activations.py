"""What activations make of constants."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import activations, ops

from kreg.layers.channels.network import Values

# These mix the units that they are called with.
_MIXING = frozenset(
    ("glu", "log_softmax", "softmax", "sparsemax", "get", "serialize")
)
_FUNCTIONS = {
    getattr(activations, name)
    for name in dir(activations)
    if name not in _MIXING and name.islower() and not name.startswith("_")
} | {
    getattr(ops, name)
    for name in (
        *("abs", "celu", "cos", "elu", "exp", "gelu", "hard_sigmoid"),
        *("hard_silu", "leaky_relu", "log_sigmoid", "negative", "relu"),
        *("relu6", "selu", "sigmoid", "silu", "sin", "softplus"),
        *("softsign", "square", "tanh"),
    )
}


def is_elementwise(activation: Any) -> bool:
    """Whether an activation is known to treat every entry by itself."""
    if isinstance(activation, keras.layers.Layer):
        return type(activation) in ELEMENTWISE_LAYERS
    try:
        return activation in _FUNCTIONS
    except TypeError:
        return False


ELEMENTWISE_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)
"""Activation layers without weights that treat every entry by itself."""


def applied(
    function: Callable[[Any], Any], values: Values, dtype: str
) -> Values:
    """What an elementwise function makes of constants.

    Args:
        function: takes and returns a tensor.
        values: the constants, NaN where there is none.
        dtype: the dtype in which it computes.

    Returns:
        NaN where there was none, or where the result is not finite.
    """
    result = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    if known.any():
        exact = "float64" if dtype == "float64" else "float32"
        given = ops.cast(
            ops.convert_to_tensor(values[None, known].astype(exact)), dtype
        )
        made = ops.convert_to_numpy(ops.cast(function(given), exact))[0]
        result[known] = np.where(np.isfinite(made), made, np.nan)
    return result
