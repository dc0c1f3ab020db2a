"""Layers that move what is in a channel, and change no channel."""

from dataclasses import replace

import numpy as np

from kreg.surgery._compact._call import (
    Call,
    Traced,
    along_axis,
    channel_axis,
    kept_whole,
)
from kreg.surgery._compact._network import Network


def spatial(call: Call, network: Network) -> Traced:
    """Pooling, cropping, upsampling: a constant stays what it is."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    return kept_whole(call, network) if signal is None else Traced((signal,))


def sequence(call: Call, network: Network) -> Traced:
    """The same along a sequence, whose channels are always last."""
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
    """Zeros around: only a constant 0 stays one."""
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
    """A vector becomes a sequence."""
    signal = along_axis(call, -1)
    if signal is None:
        return kept_whole(call, network)
    return Traced((replace(signal, axis=2),))
