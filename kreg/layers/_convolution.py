"""Convolutions: plain, transposed, depthwise and separable."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.layers._grouped_convolution import grouped_channels
from kreg.layers.channels.activations import (
    applied_to_constants,
    is_elementwise,
)
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    channel_axis,
    is_padded,
    kept_whole,
    matrix,
    with_channels,
)
from kreg.layers.channels.network import (
    Kept,
    Network,
    Signal,
    Values,
    WeightedSum,
)
from kreg.layers.channels.weighted_sum import (
    bias_of,
    is_altered,
    weighted_sum_layer,
)
from kreg.regularizers.grouping import (
    Grouping,
    UnitsAndInputs,
    all_but,
    along,
    each_alone,
)


def convolution_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    if name != "kernel":
        return each_alone(shape) if name == "bias" else None
    if layer.groups == 1:
        return all_but(shape, -1), all_but(shape, -2)
    # The groups hold equal and consecutive blocks of the input channels, and
    # likewise of the output channels.
    *window, inputs, outputs = shape
    view = (*window, inputs, layer.groups, outputs // layer.groups)
    rank = len(window)
    input_grouping = Grouping(view, (*range(rank), rank + 2))
    return all_but(shape, -1), input_grouping


def convolution_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    *window, channels, _ = layer.kernel.shape
    return math.prod(output[1:]) * math.prod(window) * channels


def convolution_channels(call: Call, network: Network) -> Traced:
    """A convolution, whose units are its filters."""
    layer = call.operation
    call = with_channels(call, network, channel_axis(layer))
    if layer.groups > 1:
        return grouped_channels(call, network)
    axis, padded = channel_axis(layer), is_padded(layer)
    return weighted_sum_layer(
        call, network, axis=axis, size="filters", padded=padded
    )


def transposed_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    if name == "kernel":
        return all_but(shape, -2), all_but(shape, -1)
    return each_alone(shape) if name == "bias" else None


def transposed_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """Each input is multiplied by the whole window of every filter."""
    *window, filters, _ = layer.kernel.shape
    return math.prod(arguments[0].shape[1:]) * math.prod(window) * filters


def transposed_channels(call: Call, network: Network) -> Traced:
    """A transposed convolution, whose kernels end in (units, inputs).

    It counts as padded, because positions see different parts of the window.
    """
    axis = channel_axis(call.operation)
    call = with_channels(call, network, axis)
    return weighted_sum_layer(
        call, network, axis=axis, size="filters", padded=True, transposed=True
    )


def depthwise_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    """A kernel `(*window, inputs, multiplier)` has a unit for each pair."""
    if name in ("kernel", "depthwise_kernel"):
        window = tuple(range(len(shape) - 2))
        return along(shape, window), all_but(shape, -2)
    return each_alone(shape) if name == "bias" else None


def depthwise_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    *window, _, _ = layer.kernel.shape
    return math.prod(output[1:]) * math.prod(window)


def depthwise_channels(call: Call, network: Network) -> Traced:
    """A depthwise convolution: `depth_multiplier` units for each channel."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if (
        signal is None
        or is_altered(layer)
        or not is_elementwise(layer.activation)
    ):
        return kept_whole(call, network)
    kernel, bias = matrix(layer.kernel), bias_of(layer)
    units = Signal(
        np.repeat(signal.channels, layer.depth_multiplier),
        _filtered(call, network, signal, kernel),
        signal.axes,
    )
    constants = units.constants if bias is None else units.constants + bias
    constants = applied_to_constants(
        layer.activation, constants, layer.compute_dtype
    )
    network.units[call.path] = units.channels

    def reduce(kept: Kept) -> Reduction:
        weights = {"kernel": kernel[..., kept(signal.channels), :]}
        if bias is not None:
            weights["bias"] = bias[kept(units.channels)]
        return Reduction({}, weights)

    return Traced((units.with_constants(constants),), reduce)


def separable_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    if name == "pointwise_kernel":
        return all_but(shape, -1), all_but(shape, -2)
    return depthwise_axes(layer, name, shape)


def separable_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    positions = math.prod(output[1:]) // layer.pointwise_kernel.shape[-1]
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)


def separable_channels(call: Call, network: Network) -> Traced:
    """A depthwise convolution, then a convolution with a window of 1."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if signal is None or is_altered(layer):
        return kept_whole(call, network)
    depthwise = matrix(layer.depthwise_kernel)
    pointwise, bias = matrix(layer.pointwise_kernel), bias_of(layer)
    mixing = pointwise.reshape(-1, pointwise.shape[-1])
    filtered = _filtered(call, network, signal, depthwise)
    window = tuple(range(depthwise.ndim - 2))
    passes = (depthwise != 0).any(axis=window).reshape(-1)
    mixes = (mixing != 0) & passes[:, None]
    units = network.new(mixing.shape[1], signal.axis)
    network.units[call.path] = units.channels
    inputs = len(signal.channels)
    network.sums.append(
        WeightedSum(
            call.path,
            signal.channels,
            units.channels,
            mixes.reshape(inputs, -1, mixing.shape[1]).any(axis=1),
            np.where(
                np.isnan(filtered).reshape(inputs, -1).any(axis=1),
                np.nan,
                signal.constants,
            ),
            folds=not is_padded(layer),
            merges=False,
        )
    )
    shift = np.nan_to_num(filtered)[:, None] * mixing
    constants = shift.sum(axis=0) + (0.0 if bias is None else bias)
    constants[mixes[np.isnan(filtered)].any(axis=0)] = np.nan
    if is_elementwise(layer.activation):
        constants = applied_to_constants(
            layer.activation, constants, layer.compute_dtype
        )
    else:
        network.pin(units.channels, f"the activation of `{call.path}` mixes")
        constants[:] = np.nan

    def reduce(kept: Kept) -> Reduction:
        stay, out = kept(signal.channels), kept(units.channels)
        rows = np.repeat(stay, layer.depth_multiplier)
        weights = {
            "depthwise_kernel": depthwise[..., stay, :],
            "pointwise_kernel": pointwise[..., rows, :][..., out],
        }
        folded = shift[~rows].sum(axis=0)[out]
        if bias is not None:
            weights["bias"] = bias[out] + folded
        elif folded.any():
            weights["bias"] = folded
        changed = {"filters": int(out.sum()), "use_bias": "bias" in weights}
        return Reduction(changed, weights)

    return Traced((units.with_constants(constants),), reduce)


def _filtered(
    call: Call, network: Network, signal: Signal, kernel: NDArray[Any]
) -> Values:
    """The constants after a depthwise kernel, for each input and multiplier.

    Shape (inputs * depth_multiplier,); NaN for a channel that varies.
    """
    multiplier = kernel.shape[-1]
    window = tuple(range(kernel.ndim - 2))
    before = np.repeat(signal.constants, multiplier)
    silent = ~(kernel != 0).any(axis=window).reshape(-1)
    after = before * kernel.sum(axis=window, dtype=np.float64).reshape(-1)
    if is_padded(call.operation):
        lost = ~np.isnan(before) & (before != 0) & ~silent
        network.note_obstacle(
            np.repeat(signal.channels, multiplier)[lost],
            f"the padding of `{call.path}` differs from its constant",
        )
        after = np.where(before == 0, 0.0, np.nan)
    return np.where(silent, 0.0, after)
