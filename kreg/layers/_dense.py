"""Dense and EinsumDense layers."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from kreg.layers.channels.call import Call, Traced
from kreg.layers.channels.network import Network
from kreg.layers.channels.weighted_sum import weighted_sum_layer
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
