"""Dense and EinsumDense layers."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    array,
    kept_whole,
    matrix,
    with_channels,
)
from kreg.layers.channels.contraction import EinsumSums, einsum_letters
from kreg.layers.channels.network import Kept, Network
from kreg.layers.channels.weighted_sum import (
    activated,
    is_altered,
    weighted_sum_layer,
)
from kreg.regularizers.grouping import UnitsAndInputs, along, each_alone


def dense_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    if name == "kernel":
        return along(shape, (0,)), along(shape, (1,))
    return each_alone(shape) if name == "bias" else None


def dense_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    inputs, _ = layer.kernel.shape
    return math.prod(output[1:]) * inputs


def dense_channels(call: Call, network: Network) -> Traced:
    """A `Dense` layer, which acts on the last axis of a tensor of any rank."""
    call = with_channels(call, network, -1)
    return weighted_sum_layer(
        call, network, axis=-1, size="units", padded=False
    )


def einsum_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    if name != "kernel":
        return each_alone(shape) if name == "bias" else None
    operands, outputs = layer.equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    unit_axes = [i for i, axis in enumerate(kernel) if axis not in outputs]
    input_axes = [i for i, axis in enumerate(kernel) if axis not in inputs]
    return along(shape, unit_axes), along(shape, input_axes)


def einsum_channels(call: Call, network: Network) -> Traced:
    """An `EinsumDense`, whose channels may lie along several axes."""
    layer, signal = call.operation, call.signals[0]
    ranks = [len(call.node.input_tensors[0].shape), len(layer.kernel.shape)]
    letters = einsum_letters(layer.equation, ranks)
    if (
        len(call.signals) != 1
        or is_altered(layer)
        or letters is None
        or layer.equation.split("->")[1].endswith("...")
        or not EinsumSums.fits(signal, letters)
    ):
        return kept_whole(call, network)
    bias = None if layer.bias is None else array(layer.bias)
    sums = EinsumSums(
        call.path,
        network,
        signal,
        matrix(layer.kernel),
        letters,
        bias=bias,
        adds_bias=True,
    )
    network.units[call.path] = sums.units.channels
    output = letters[2]

    def reduce(kept: Kept) -> Reduction:
        stays = sums.stays(kept)
        kernel, bias = sums.reduced(kept)
        weights = {"kernel": kernel}
        config: dict[str, Any] = {
            "output_shape": [
                int(stays[c].sum()) if c in output[1:] and c in stays else size
                for c, size in zip(output[-len(sizes) :], sizes, strict=True)
            ]
        }
        if bias is not None:
            weights["bias"] = bias
            if layer.bias is None:
                config["bias_axes"] = sums.bias_axes
        return Reduction(config, weights)

    sizes = layer.get_config()["output_shape"]
    sizes = [sizes] if isinstance(sizes, int) else list(sizes)
    units = activated(call, network, sums.units)
    return Traced((units,), reduce)


def einsum_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """Each output is a sum over the kernel's axes that the output lacks."""
    operands, outputs = layer.equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1]
    summed = [
        size
        for axis, size in zip(kernel, layer.kernel.shape, strict=True)
        if axis not in outputs
    ]
    return math.prod(output[1:]) * math.prod(summed)
