"""Normalizations that take a statistic over several channels."""

import numpy as np

from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    kept_whole,
)
from kreg.layers.channels.network import Kept, Network


def rms_normalization_channels(call: Call, network: Network) -> Traced:
    """An `RMSNormalization`, whose mean square is over all channels.

    Of `d` channels `n` stay. The squares of those that go are constant, with
    the sum `s`, so that with `epsilon * d / n + s / n` and
    `scale * sqrt(d / n)` the outputs are the same.
    """
    layer = call.operation
    (axis, *others) = layer.axis
    signal = None if others else along_axis(call, axis)
    if signal is None:
        return kept_whole(call, network)
    scale, constants = array(layer.scale), signal.constants
    network.pin(
        signal.channels[np.isnan(constants)],
        f"`{call.path}` takes the mean square over it",
    )
    square = (constants**2).mean()  # NaN if any channel varies
    normalized = constants / np.sqrt(square + layer.epsilon) * scale
    normalized[(constants == 0) | (scale == 0)] = 0.0
    network.note_obstacle(
        signal.channels[~np.isnan(constants) & np.isnan(normalized)],
        f"`{call.path}` divides it by what varies",
    )

    def reduce(kept: Kept) -> Reduction:
        stay = kept(signal.channels)
        ratio = len(stay) / stay.sum()
        removed = np.where(stay, 0.0, np.nan_to_num(constants))
        epsilon = (layer.epsilon + (removed**2).mean()) * ratio
        return Reduction(
            {"epsilon": float(epsilon)}, {"scale": scale[stay] * np.sqrt(ratio)}
        )

    return Traced((signal.with_constants(normalized),), reduce)


def unit_normalization_channels(call: Call, network: Network) -> Traced:
    """A `UnitNormalization`, in which channels that are 0 do not count."""
    axes = np.atleast_1d(call.operation.axis).tolist()
    signal = along_axis(call, axes[0]) if len(axes) == 1 else None
    if signal is None:
        return kept_whole(call, network)
    zero = signal.constants == 0
    network.pin(signal.channels[~zero], f"`{call.path}` takes the norm over it")
    return Traced((signal.with_constants(np.where(zero, 0.0, np.nan)),))


def group_normalization_channels(call: Call, network: Network) -> Traced:
    """A `GroupNormalization`, whose groups go as a whole."""
    layer = call.operation
    signal = along_axis(call, layer.axis)
    if signal is None:
        return kept_whole(call, network)
    channels = signal.channels.reshape(layer.groups, -1)
    values = signal.constants.reshape(channels.shape)
    for other in channels.T[1:]:
        network.tie(channels[:, 0], other)
    weights = {}
    deviation = np.sqrt(values.var(axis=1, keepdims=True) + layer.epsilon)
    centered = values - values.mean(axis=1, keepdims=True)
    constants = (centered / deviation).reshape(-1)
    if layer.scale:
        gamma = weights["gamma"] = array(layer.gamma)
        constants = np.where(gamma == 0, 0.0, constants * gamma)
    if layer.center:
        beta = weights["beta"] = array(layer.beta)
        constants = constants + beta
    network.note_obstacle(
        signal.channels[~np.isnan(signal.constants) & np.isnan(constants)],
        f"`{call.path}` normalizes it together with what varies",
    )

    def reduce(kept: Kept) -> Reduction:
        stay = kept(signal.channels)
        groups = int(kept(channels[:, 0]).sum())
        return Reduction(
            {"groups": groups}, {name: w[stay] for name, w in weights.items()}
        )

    return Traced((signal.with_constants(constants),), reduce)


def layer_normalization_channels(call: Call, network: Network) -> Traced:
    """A `LayerNormalization`, whose mean is over all channels."""
    return kept_whole(
        call,
        network,
        "takes a mean over all channels, also constant ones; with "
        "`RMSNormalization` channels that are 0 could go",
    )
