"""Layers and operations that add, multiply or concatenate tensors."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kreg.layers.channels.call import Call, Traced, Tracer, kept_whole
from kreg.layers.channels.network import Network, Signal, Values

Combine = Callable[[NDArray[np.float64]], Values]


def _combining(combine: Combine) -> Tracer:
    """The tracer of an operation that combines tensors channel by channel.

    Args:
        combine: function of constants of shape (tensors, channels), NaN where
            a channel varies; it returns the combined value of each channel.
    """

    def trace(call: Call, network: Network) -> Traced:
        signals = call.signals
        ranks = {len(t.shape) for t in call.node.input_tensors}
        if (
            len(signals) < 2
            or len(ranks) != 1
            or len({s.axis for s in signals}) != 1
        ):
            return kept_whole(call, network)
        widest = max(signals, key=lambda s: len(s.channels))
        count = len(widest.channels)
        if {len(s.channels) for s in signals} - {1, count}:
            return kept_whole(call, network)
        for signal in signals:
            if len(signal.channels) == count:
                network.tie(widest.channels, signal.channels)
            else:
                network.pin(
                    signal.channels, f"`{call.path}` spreads it over others"
                )
        values = np.stack(
            [np.broadcast_to(s.constants, count) for s in signals]
        )
        constants = combine(values)
        _note_mixtures(call, network, signals, constants)
        return Traced((widest.with_constants(constants),))

    return trace


def concatenation(call: Call, network: Network) -> Traced:
    """A `Concatenate` layer, along the channels or another axis."""
    signals = call.signals
    rank = len(call.node.output_tensors[0].shape)
    if len({s.axis for s in signals}) != 1 or not all(
        len(s.channels) for s in signals
    ):
        return kept_whole(call, network)
    first = signals[0]
    if call.operation.axis % rank == first.axis:
        return Traced(
            (
                Signal(
                    np.concatenate([s.channels for s in signals]),
                    np.concatenate([s.constants for s in signals]),
                    first.axis,
                ),
            )
        )
    for signal in signals[1:]:
        network.tie(first.channels, signal.channels)
    values = np.stack([s.constants for s in signals])
    same = (values == values[0]).all(axis=0)
    constants = np.where(same, values[0], np.nan)
    _note_mixtures(call, network, signals, constants)
    return Traced((first.with_constants(constants),))


def _product(values: NDArray[np.float64]) -> Values:
    """The product of each channel, which is 0 if a factor is 0."""
    return np.where((values == 0).any(axis=0), 0.0, values.prod(axis=0))


def _note_mixtures(
    call: Call,
    network: Network,
    signals: Sequence[Signal],
    constants: Values,
) -> None:
    """Note the constant channels that combining with others made vary."""
    for signal in signals:
        if len(signal.channels) == len(constants):
            lost = ~np.isnan(signal.constants) & np.isnan(constants)
            network.note_obstacle(
                signal.channels[lost],
                f"`{call.path}` combines it with what varies",
            )


total = _combining(lambda values: values.sum(axis=0))
mean = _combining(lambda values: values.mean(axis=0))
largest = _combining(lambda values: values.max(axis=0))
smallest = _combining(lambda values: values.min(axis=0))
product = _combining(_product)
difference = _combining(lambda values: values[0] - values[1])
