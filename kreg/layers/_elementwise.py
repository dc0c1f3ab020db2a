"""Elementwise layers and operations: activations, dropout, rescaling."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from kreg.layers.channels.activations import (
    applied_to_constants,
    is_elementwise,
)
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    kept_whole,
)
from kreg.layers.channels.network import Kept, Network


def identity(call: Call, network: Network) -> Traced:
    """A layer that changes nothing in inference, such as dropout."""
    if len(call.signals) != 1:
        return kept_whole(call, network)
    signal = call.signals[0]
    return Traced((signal.varying() if call.training else signal,))


def activation_layer(call: Call, network: Network) -> Traced:
    """A layer that applies a function to every entry."""
    layer = call.operation
    function = layer
    if isinstance(layer, layers.Activation):
        function = layer.activation
    if not is_elementwise(function) or len(call.signals) != 1:
        return kept_whole(call, network)
    return _mapped(call, function, layer.compute_dtype)


def rescaling(call: Call, network: Network) -> Traced:
    """A `Rescaling` by the same numbers for every channel."""
    layer = call.operation
    if np.ndim(layer.scale) or np.ndim(layer.offset) or len(call.signals) != 1:
        return kept_whole(call, network)
    return _mapped(call, layer, layer.compute_dtype)


def parametric_relu(call: Call, network: Network) -> Traced:
    """A `PReLU` with a slope for each channel, or one for all channels."""
    layer = call.operation
    signal = along_axis(call, call.signals[0].axis)
    alpha = array(layer.alpha)
    if signal is None or alpha.shape[signal.axis - 1] not in (
        1,
        len(signal.channels),
    ):
        return kept_whole(call, network)
    place = signal.axis - 1
    others = tuple(a for a in range(alpha.ndim) if a != place)
    low, high = alpha.min(axis=others), alpha.max(axis=others)
    slope = np.where(low == high, low, np.nan)
    below = signal.constants * slope
    constants = np.where(signal.constants >= 0, signal.constants, below)

    def reduce(kept: Kept) -> Reduction:
        if alpha.shape[place] == 1:
            return Reduction({}, {"alpha": alpha})
        stay = kept(signal.channels)
        return Reduction({}, {"alpha": np.compress(stay, alpha, axis=place)})

    return Traced((signal.with_constants(constants),), reduce)


def elementwise_operation(call: Call, network: Network) -> Traced:
    """An operation of `keras.ops` on one tensor and plain numbers."""
    arguments = call.node.arguments
    operands = [*arguments.args, *arguments.kwargs.values()]
    numbers = [a for a in operands if a is None or isinstance(a, (int, float))]
    tensor = call.node.input_tensors[0]
    if len(call.signals) != 1 or len(numbers) != len(operands) - 1:
        return kept_whole(call, network)

    def function(x: Any) -> Any:
        args = [x if a is tensor else a for a in arguments.args]
        kwargs = {
            k: x if a is tensor else a for k, a in arguments.kwargs.items()
        }
        return call.operation(*args, **kwargs)

    return _mapped(call, function, tensor.dtype)


def _mapped(call: Call, function: Callable[[Any], Any], dtype: str) -> Traced:
    signal = call.signals[0]
    return Traced(
        (
            signal.with_constants(
                applied_to_constants(function, signal.constants, str(dtype))
            ),
        )
    )
