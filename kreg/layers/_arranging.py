"""Layers and operations that rearrange: flatten, reshape, pool, pad."""

import numpy as np

from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    channel_axis,
    every_number,
    kept_whole,
    note_padding,
    same_along,
    weight_channels,
)
from kreg.layers.channels.network import Kept, Network, Parameter, Signal
from kreg.layers.channels.rearranging import moved, picked


def reshape(call: Call, network: Network) -> Traced:
    """A `Reshape` layer, whose `target_shape` shrinks with the channels."""
    done = moved(call, network)
    (signal,) = done.outputs
    places = dict(
        zip(signal.axes, network.places(signal.channels), strict=True)
    )
    sizes = call.operation.get_config()["target_shape"]

    def reduce(kept: Kept) -> Reduction:
        changed = [
            int(kept(places[axis]).sum())
            if size != -1 and len(places.get(axis, ()))
            else size
            for axis, size in enumerate(sizes, 1)
        ]
        return Reduction({"target_shape": changed}, {})

    return Traced(done.outputs, reduce)


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
    return Traced((signal.moved(axis),))


def zero_padding(call: Call, network: Network) -> Traced:
    """Zero padding: only a channel that is constantly 0 stays constant."""
    signal = along_axis(call, channel_axis(call.operation))
    if signal is None:
        return kept_whole(call, network)
    return Traced((_padded(call, network, signal, 0),))


def padding(call: Call, network: Network) -> Traced:
    """A `pad` along axes of positions."""
    signal, *others = call.operands
    widths, rank = (
        call.operation.pad_width,
        len(call.node.input_tensors[0].shape),
    )
    if isinstance(widths, int) or others or not isinstance(signal, Signal):
        return kept_whole(call, network)
    widths = np.broadcast_to(widths, (rank, 2))
    if any(np.any(widths[axis]) for axis in signal.axes):
        return kept_whole(call, network, "pads the channels")
    if call.operation.mode != "constant":
        return Traced((signal.varying(),))
    arguments = call.node.arguments
    (value,) = (*arguments.args[1:], *arguments.kwargs.values()) or (None,)
    return Traced((_padded(call, network, signal, value or 0),))


def _padded(
    call: Call, network: Network, signal: Signal, value: float
) -> Signal:
    """The channels after padding; constants other than `value` vary."""
    note_padding(call, network, signal, value)
    same = signal.constants == value
    return signal.with_constants(np.where(same, value, np.nan))


def take(call: Call, network: Network) -> Traced:
    """A `take` at fixed indices, or a lookup of rows of a weight."""
    if len(call.operands) == 1:
        return picked(call, network)
    table, indices = call.operands
    if (
        not isinstance(table, Parameter)
        or call.operation.axis != 0
        or any(len(axes) > 1 for _, axes in table.parts)
    ):
        return kept_whole(call, network)
    reason = f"`{call.path}` looks it up"
    for channels in every_number(indices):
        network.pin(channels, reason)
    shift = len(call.node.input_tensors[1].shape) - 1
    parts = []
    for channels, (axis,) in table.parts:
        if axis == 0:
            used = [c not in network.unused for c in channels.tolist()]
            network.pin(channels[used], reason)
        else:
            parts.append((channels, (axis + shift,)))
    values = same_along(table.values, (0,))
    values = values.reshape((1,) * (shift + 1) + values.shape)
    return Traced((weight_channels(values, parts, network),))
