"""Layers that rearrange positions or channels: flatten, reshape, pool, pad."""

from dataclasses import replace

import numpy as np

from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    channel_axis,
    kept_whole,
)
from kreg.layers.channels.network import Kept, Network, Signal


def flatten(call: Call, network: Network) -> Traced:
    """A `Flatten`: all positions of all channels in one row."""
    if len(call.signals) != 1:
        return kept_whole(call, network)
    signal, shape = call.signals[0], call.node.input_tensors[0].shape[1:]
    if None in shape or not len(signal.channels):
        return kept_whole(call, network)
    rank, axis = len(shape), signal.axis - 1
    places = np.arange(len(signal.channels)).reshape(
        [-1 if a == axis else 1 for a in range(rank)]
    )
    places = np.broadcast_to(places, shape)
    if call.operation.data_format == "channels_first" and rank > 1:
        places = np.moveaxis(places, 0, -1)
    order = places.reshape(-1)
    return Traced((Signal(signal.channels[order], signal.constants[order], 1),))


def permute(call: Call, network: Network) -> Traced:
    """A `Permute`: the same axes in another order."""
    if len(call.signals) != 1:
        return kept_whole(call, network)
    signal = call.signals[0]
    axis = call.operation.dims.index(signal.axis) + 1
    return Traced((replace(signal, axis=axis),))


def reshape(call: Call, network: Network) -> Traced:
    """A `Reshape` whose last axis repeats the channels, or holds parts of them.

    Channels of different parts that share a place in the last axis stay or go
    together.
    """
    if len(call.signals) != 1:
        return kept_whole(call, network)
    signal, before = call.signals[0], call.node.input_tensors[0].shape
    after = call.node.output_tensors[0].shape
    inputs, outputs = len(signal.channels), after[-1]
    if (
        not inputs
        or outputs is None
        or signal.axis != len(before) - 1
        or len(after) < 2
        or after[1:-1].count(None) > 1
        or max(inputs, outputs) % min(inputs, outputs)
    ):
        return kept_whole(call, network)
    if outputs >= inputs:
        copies = outputs // inputs
        channels = np.tile(signal.channels, copies)
        constants = np.tile(signal.constants, copies)
    else:
        rows = signal.channels.reshape(-1, outputs)
        for row in rows[1:]:
            network.tie(rows[0], row)
        channels = rows[0]
        values = signal.constants.reshape(-1, outputs)
        same = (values == values[0]).all(axis=0)
        constants = np.where(same, values[0], np.nan)
    positions = [-1 if d is None else d for d in after[1:-1]]

    def reduce(kept: Kept) -> Reduction:
        count = int(kept(channels).sum())
        return Reduction({"target_shape": [*positions, count]}, {})

    return Traced((Signal(channels, constants, len(after) - 1),), reduce)


def spatial(call: Call, network: Network) -> Traced:
    """Pooling, cropping, upsampling: constant channels keep their value."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    return kept_whole(call, network) if signal is None else Traced((signal,))


def sequence(call: Call, network: Network) -> Traced:
    """Cropping and upsampling of a sequence, whose channels are always last."""
    signal = along_axis(call, -1)
    return kept_whole(call, network) if signal is None else Traced((signal,))


def global_pooling(call: Call, network: Network) -> Traced:
    """Pooling over all positions."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if signal is None:
        return kept_whole(call, network)
    axis = signal.axis if layer.keepdims else 1
    return Traced((replace(signal, axis=axis),))


def zero_padding(call: Call, network: Network) -> Traced:
    """Zero padding: only a channel that is constantly 0 stays constant."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if signal is None:
        return kept_whole(call, network)
    zero = signal.constants == 0
    network.note_obstacle(
        signal.channels[~zero & ~np.isnan(signal.constants)],
        f"the zeros of `{call.path}` differ from its constant",
    )
    return Traced((signal.with_constants(np.where(zero, 0.0, np.nan)),))


def repeat_vector(call: Call, network: Network) -> Traced:
    """A `RepeatVector`: a vector becomes a sequence."""
    signal = along_axis(call, -1)
    if signal is None:
        return kept_whole(call, network)
    return Traced((replace(signal, axis=2),))
