"""How many products with weights one call of a layer takes."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers


def products_of(
    layer: keras.layers.Layer, arguments: list[Any], outputs: Any
) -> int | None:
    """Multiply-adds per example of one call, without those of layers inside.

    None if it is not known how the layer uses its weights.

    Args:
        layer: the layer.
        arguments: what it was called on, in the order of its signature.
        outputs: what it gave.
    """
    for kinds, count in _COUNTS:
        if isinstance(layer, kinds):
            output = keras.tree.flatten(outputs)[0]
            return count(layer, arguments, tuple(output.shape))
    return None


def _dense(layer: Any, arguments: list[Any], output: tuple[int, ...]) -> int:
    inputs, _ = layer.kernel.shape
    return math.prod(output[1:]) * inputs


def _einsum(layer: Any, arguments: list[Any], output: tuple[int, ...]) -> int:
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


def _convolution(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    *window, channels, _ = layer.kernel.shape
    return math.prod(output[1:]) * math.prod(window) * channels


def _transposed(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """Each input goes, by the whole window, to every filter."""
    *window, filters, _ = layer.kernel.shape
    return math.prod(arguments[0].shape[1:]) * math.prod(window) * filters


def _depthwise(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    *window, _, _ = layer.kernel.shape
    return math.prod(output[1:]) * math.prod(window)


def _separable(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    positions = math.prod(output[1:]) // layer.pointwise_kernel.shape[-1]
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)


def _recurrent(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """In each step, every matrix of the cell once, at every position."""
    steps = arguments[0].shape[1]
    shape = output[2:] if layer.return_sequences else output[1:]
    matrices = [
        v.shape
        for v in layer.cell.weights
        if len(v.shape) > 1 and not v.name.endswith("bias")
    ]
    positions = 1
    if len(shape) > 1:  # a convolution in each step
        positions = math.prod(shape) // layer.cell.filters
    return steps * positions * sum(map(math.prod, matrices))


def _attention(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """Scores and weighted values; projections are layers inside."""
    query, value = arguments[0].shape, arguments[1].shape
    pairs = math.prod(query[1:-1]) * math.prod(value[1:-1])
    if isinstance(layer, layers.GroupQueryAttention):
        return pairs * layer.num_query_heads * 2 * layer.head_dim
    return pairs * layer.num_heads * (layer.key_dim + layer.value_dim)


_Count = Callable[[Any, list[Any], tuple[int, ...]], int]
_COUNTS: list[tuple[tuple[type, ...], _Count]] = [
    ((layers.Dense,), _dense),
    ((layers.EinsumDense,), _einsum),
    (
        (
            layers.Conv1DTranspose,
            layers.Conv2DTranspose,
            layers.Conv3DTranspose,
        ),
        _transposed,
    ),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    ((layers.RNN,), _recurrent),
    ((layers.MultiHeadAttention, layers.GroupQueryAttention), _attention),
]
