"""Convolutions that move a window over each channel by itself."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.layers.channels.activations import applied, is_elementwise
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    channel_axis,
    kept_whole,
    matrix,
)
from kreg.layers.channels.mixing import bias_of, is_altered, is_padded
from kreg.layers.channels.network import Kept, Network, Reader, Signal, Values


def depthwise_convolution(call: Call, network: Network) -> Traced:
    """A depthwise convolution: each channel makes some of its own."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if (
        signal is None
        or is_altered(layer)
        or not is_elementwise(layer.activation)
    ):
        return kept_whole(call, network)
    kernel, bias = matrix(layer.kernel), bias_of(layer)
    made = Signal(
        np.repeat(signal.channels, layer.depth_multiplier),
        _filtered(call, network, signal, kernel),
        signal.axis,
    )
    constants = made.constants if bias is None else made.constants + bias
    constants = applied(layer.activation, constants, layer.compute_dtype)
    network.made[call.path] = made.channels

    def reduce(kept: Kept) -> Reduction:
        weights = {"kernel": kernel[..., kept(signal.channels), :]}
        if bias is not None:
            weights["bias"] = bias[kept(made.channels)]
        return Reduction({}, weights)

    return Traced((made.with_constants(constants),), reduce)


def separable_convolution(call: Call, network: Network) -> Traced:
    """A depthwise convolution, then one that mixes with a window of 1."""
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
    network.made[call.path] = units.channels
    inputs = len(signal.channels)
    network.readers.append(
        Reader(
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
        constants = applied(layer.activation, constants, layer.compute_dtype)
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
    """What a window makes of each constant channel, shape (inputs * made,)."""
    multiplier = kernel.shape[-1]
    window = tuple(range(kernel.ndim - 2))
    given = np.repeat(signal.constants, multiplier)
    silent = ~(kernel != 0).any(axis=window).reshape(-1)
    made = given * kernel.sum(axis=window, dtype=np.float64).reshape(-1)
    if is_padded(call.operation):
        lost = ~np.isnan(given) & (given != 0) & ~silent
        network.note_obstacle(
            np.repeat(signal.channels, multiplier)[lost],
            f"the padding of `{call.path}` differs from its constant",
        )
        made = np.where(given == 0, 0.0, np.nan)
    return np.where(silent, 0.0, made)
