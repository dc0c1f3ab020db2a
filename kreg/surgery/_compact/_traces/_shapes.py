"""Layers that arrange the same entries anew."""

from dataclasses import replace

import numpy as np

from kreg.surgery._compact._call import (
    Call,
    Reduction,
    Traced,
    kept_whole,
)
from kreg.surgery._compact._network import Kept, Network
from kreg.surgery._compact._signal import Signal


def flatten(call: Call, network: Network) -> Traced:
    """All positions of all channels in one row."""
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
    """The same axes in another order."""
    if len(call.signals) != 1:
        return kept_whole(call, network)
    signal = call.signals[0]
    axis = call.operation.dims.index(signal.axis) + 1
    return Traced((replace(signal, axis=axis),))


def reshape(call: Call, network: Network) -> Traced:
    """A shape whose last axis holds whole rows of channels, or parts of one."""
    if len(call.signals) != 1:
        return kept_whole(call, network)
    signal, given = call.signals[0], call.node.input_tensors[0].shape
    made = call.node.output_tensors[0].shape
    inputs, outputs = len(signal.channels), made[-1]
    if (
        not inputs
        or outputs is None
        or signal.axis != len(given) - 1
        or len(made) < 2
        or made[1:-1].count(None) > 1
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
    positions = [-1 if d is None else d for d in made[1:-1]]

    def reduce(kept: Kept) -> Reduction:
        count = int(kept(channels).sum())
        return Reduction({"target_shape": [*positions, count]}, {})

    return Traced((Signal(channels, constants, len(made) - 1),), reduce)
