"""Dense and EinsumDense layers."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from kreg.layers.channels.call import Call, Traced
from kreg.layers.channels.network import Network
from kreg.layers.channels.weighted_sum import layer_of_sums
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
    """A `Dense` layer, on the last axis of tensors of any rank."""
    return layer_of_sums(call, network, axis=-1, size="units", padded=False)


def einsum_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    if name != "kernel":
        return each_alone(shape) if name == "bias" else None
    operands, outputs = layer.equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    units = [i for i, axis in enumerate(kernel) if axis not in outputs]
    ties = [i for i, axis in enumerate(kernel) if axis not in inputs]
    return along(shape, units), along(shape, ties)


def einsum_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """Each output is a sum over the axes that only inputs and kernel have."""
    equation = layer.equation.replace(" ", "")
    left, right = equation.split("->")
    kernel = left.split(",")[1]
    summed = [
        size
        for axis, size in zip(kernel, layer.kernel.shape, strict=True)
        if axis not in right
    ]
    return math.prod(output[1:]) * math.prod(summed)
