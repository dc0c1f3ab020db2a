"""Which axes of a weight are units and which are inputs, layer by layer."""

from collections.abc import Callable, Sequence

import keras
from keras import layers

from kreg._keras_private import (
    ConvLSTMCell,
    flatten_layers,
    own_trainable_variables,
)
from kreg.regularizers.grouping import Grouping, Layout, along

Pair = tuple[Grouping, Grouping | None]
Resolver = Callable[[keras.layers.Layer, str, Sequence[int]], Pair | None]


def layouts_of(model: keras.Model) -> dict[int, Layout]:
    """The layout of each weight of `model`, by the `id` of its variable."""
    layouts: dict[int, Layout] = {}
    for layer in flatten_layers(model):
        for variable in own_trainable_variables(layer):
            if id(variable) not in layouts:
                layouts[id(variable)] = layout_of(layer, variable)
    return layouts


def layout_of(layer: keras.layers.Layer, variable: keras.Variable) -> Layout:
    """The layout of a weight in the layer that owns it.

    Args:
        layer: the layer.
        variable: one of its own variables.

    Returns:
        A layout, which names neither units nor inputs where the layer is of a
        kind that is not known here.
    """
    owner = type(layer).__name__
    shape = tuple(variable.shape)
    for kind, resolve in _RESOLVERS.items():
        if isinstance(layer, kind):
            pair = resolve(layer, variable.name, shape)
            return Layout(owner) if pair is None else Layout(owner, *pair)
    return Layout(owner)


def _all_but(shape: Sequence[int], kept: int) -> Grouping:
    rank = len(shape)
    return along(shape, [a for a in range(rank) if a != kept % rank])


def _vector(shape: Sequence[int]) -> Pair:
    """Every entry belongs to one unit, and to no input."""
    return along(shape, ()), None


def _dense(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    if name == "kernel":
        return along(shape, (0,)), along(shape, (1,))
    return _vector(shape) if name == "bias" else None


def _embedding(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    if name == "embeddings":
        return along(shape, (0,)), along(shape, (1,))
    return None


def _convolution(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    if name != "kernel":
        return _vector(shape) if name == "bias" else None
    if layer.groups == 1:
        return _all_but(shape, -1), _all_but(shape, -2)
    # Input channels are dealt out to the groups in order, and so are outputs.
    *window, inputs, outputs = shape
    view = (*window, inputs, layer.groups, outputs // layer.groups)
    rank = len(window)
    ties = Grouping(view, (*range(rank), rank + 2))
    return _all_but(shape, -1), ties


def _transposed_convolution(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    if name == "kernel":
        return _all_but(shape, -2), _all_but(shape, -1)
    return _vector(shape) if name == "bias" else None


def _depthwise(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    """Kernels `(*window, inputs, multiplier)`: a channel for each pair."""
    if name in ("kernel", "depthwise_kernel"):
        window = tuple(range(len(shape) - 2))
        return along(shape, window), _all_but(shape, -2)
    return _vector(shape) if name == "bias" else None


def _separable(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    if name == "pointwise_kernel":
        return _all_but(shape, -1), _all_but(shape, -2)
    return _depthwise(layer, name, shape)


def _einsum_dense(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    if name != "kernel":
        return _vector(shape) if name == "bias" else None
    operands, outputs = layer.equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    units = [i for i, axis in enumerate(kernel) if axis not in outputs]
    ties = [i for i, axis in enumerate(kernel) if axis not in inputs]
    return along(shape, units), along(shape, ties)


def _gated(gates: int) -> Resolver:
    """Cells whose last axis holds `gates` parts, each with every unit."""

    def resolve(
        layer: keras.layers.Layer, name: str, shape: Sequence[int]
    ) -> Pair | None:
        view = (*shape[:-1], gates, shape[-1] // gates)
        units = Grouping(view, tuple(range(len(view) - 1)))
        if name == "bias":
            return units, None
        if name in ("kernel", "recurrent_kernel"):
            return units, _all_but(shape, -2)
        return None

    return resolve


def _normalization(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> Pair | None:
    return _vector(shape) if name in ("gamma", "beta", "scale") else None


# The first kind that a layer is an instance of decides.
_RESOLVERS: dict[type | tuple[type, ...], Resolver] = {
    layers.Dense: _dense,
    layers.EinsumDense: _einsum_dense,
    layers.Embedding: _embedding,
    (
        layers.Conv1DTranspose,
        layers.Conv2DTranspose,
        layers.Conv3DTranspose,
    ): _transposed_convolution,
    (layers.Conv1D, layers.Conv2D, layers.Conv3D): _convolution,
    (layers.DepthwiseConv1D, layers.DepthwiseConv2D): _depthwise,
    (layers.SeparableConv1D, layers.SeparableConv2D): _separable,
    layers.SimpleRNNCell: _gated(1),
    layers.GRUCell: _gated(3),
    (layers.LSTMCell, ConvLSTMCell): _gated(4),
    (
        layers.BatchNormalization,
        layers.LayerNormalization,
        layers.GroupNormalization,
        layers.RMSNormalization,
    ): _normalization,
}
