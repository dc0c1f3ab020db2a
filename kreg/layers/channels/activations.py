"""Activations: which are elementwise, and their values at constants."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import activations, ops

from kreg.layers.channels.network import Values

# Names in `keras.activations` that are no elementwise functions.
_NOT_ELEMENTWISE = frozenset(
    ("glu", "log_softmax", "softmax", "sparsemax", "get", "serialize")
)
_ELEMENTWISE_FUNCTIONS = {
    getattr(activations, name)
    for name in dir(activations)
    if name not in _NOT_ELEMENTWISE
    and name.islower()
    and not name.startswith("_")
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
        return activation in _ELEMENTWISE_FUNCTIONS
    except TypeError:
        return False


ELEMENTWISE_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)
"""Activation layers without weights that treat every entry by itself."""


def applied_to_constants(
    function: Callable[[Any], Any], values: Values, dtype: str
) -> Values:
    """The values of an elementwise function at constants.

    Args:
        function: takes and returns a tensor.
        values: the constants, NaN for a channel that varies.
        dtype: the dtype in which the function computes.

    Returns:
        The value for each channel; NaN for a channel that varies, or whose
        value is not finite.
    """
    results = np.full(len(values), np.nan)
    is_constant = ~np.isnan(values)
    if is_constant.any():
        exact = "float64" if dtype == "float64" else "float32"
        x = ops.convert_to_tensor(values[None, is_constant].astype(exact))
        y = ops.cast(function(ops.cast(x, dtype)), exact)
        computed = ops.convert_to_numpy(y)[0]
        results[is_constant] = np.where(np.isfinite(computed), computed, np.nan)
    return results
