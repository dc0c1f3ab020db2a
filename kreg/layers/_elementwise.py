"""Elementwise layers and operations: activations, dropout, rescaling."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from keras import layers, ops

from kreg.layers.channels.activations import (
    applied_to_constants,
    is_elementwise,
    same_in_twin,
)
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    kept_whole,
)
from kreg.layers.channels.network import Kept, Network, Parameter, Signal


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
    return _mapped(call.signals[0], function, layer.compute_dtype)


def function_layer(call: Call, network: Network) -> Traced:
    """A `Lambda` layer, whose function may treat every entry by itself."""
    layer = call.operation
    function = partial(layer.function, **layer.arguments)
    if len(call.signals) != 1 or not is_elementwise(function):
        return kept_whole(
            call,
            network,
            "runs a function that is not known to treat every entry by itself",
        )
    if "output_shape" in layer.get_config():
        return kept_whole(call, network, "has a fixed `output_shape`")
    return _mapped(call.signals[0], function, layer.compute_dtype)


def rescaling(call: Call, network: Network) -> Traced:
    """A `Rescaling` by the same numbers for every channel."""
    layer = call.operation
    if np.ndim(layer.scale) or np.ndim(layer.offset) or len(call.signals) != 1:
        return kept_whole(call, network)
    return _mapped(call.signals[0], layer, layer.compute_dtype)


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
    (tensor,) = call.node.input_tensors
    (operand,) = call.operands
    if not same_in_twin(call.node, call.twin):
        return kept_whole(call, network, "depends on the size of its input")

    def function(x: Any) -> Any:
        args, kwargs = arguments.fill_in({id(tensor): x})
        return call.operation.call(*args, **kwargs)

    if isinstance(operand, Parameter):
        # A weight stays a weight: the operation is applied to its values.
        values = ops.convert_to_numpy(
            function(ops.convert_to_tensor(operand.values))
        )
        return Traced((replace(operand, values=np.asarray(values)),))
    mapped = _mapped(operand, function, str(tensor.dtype))
    if type(call.operation).__name__ not in _IDENTITIES:
        return mapped
    (signal,) = mapped.outputs
    return Traced((replace(signal, sums_to_one=operand.sums_to_one),))


def of_the_same_shape(call: Call, network: Network) -> Traced:
    """An operation that makes zeros or ones of the shape of a tensor."""
    (operand,) = call.operands
    if not isinstance(operand, Signal):
        return kept_whole(call, network)
    ones = type(call.operation).__name__ == "OnesLike"
    return Traced(
        (operand.with_constants(np.full(operand.channels.shape, float(ones))),)
    )


_IDENTITIES = ("Cast", "ConvertToTensor", "Copy", "Identity", "StopGradient")


def _mapped(
    signal: Signal, function: Callable[[Any], Any], dtype: str
) -> Traced:
    return Traced(
        (
            signal.with_constants(
                applied_to_constants(function, signal.constants, dtype)
            ),
        )
    )
