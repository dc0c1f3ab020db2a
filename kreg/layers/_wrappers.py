"""Layers around another layer: in each step, in both directions."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from kreg._keras_private import call_in_wrapper
from kreg.layers._recurrent import (
    RecurrentUnits,
    channel_axis_in_time,
    is_recurrent,
    recurrent_obstacle,
)
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    Tracer,
    along_axis,
    kept_whole,
)
from kreg.layers.channels.network import EqualGroups, Kept, Network, Signal


def in_each_step(call: Call, network: Network, trace: Tracer) -> Traced:
    """A `TimeDistributed`, whose layer sees each step by itself.

    Args:
        call: the call of the wrapper.
        network: the channels of the model.
        trace: follows the call of the layer inside.
    """
    wrapped = call.operation.layer
    if len(call.signals) != 1 or call.signals[0].axis < 2:
        return kept_whole(call, network)
    (signal,) = call.signals
    step = call_in_wrapper(
        wrapped,
        _without_time(call.node.input_tensors[0]),
        [_without_time(t) for t in call.node.output_tensors],
    )
    inputs = [signal.moved(signal.axis - 1)]
    traced = trace(
        replace(
            call,
            operation=wrapped,
            operands=inputs,
            signals=inputs,
            node=step,
            twin=None,
        ),
        network,
    )
    outputs = tuple(s.moved(s.axis + 1) for s in traced.outputs)
    reduce = traced.reduce
    if reduce is None and wrapped.weights:
        return Traced(outputs)

    def reduce_inside(kept: Kept) -> Reduction:
        inner = Reduction({}, {}) if reduce is None else reduce(kept)
        return _inside({"layer": ("layer", inner)})

    return Traced(outputs, reduce_inside)


def both_directions(call: Call, network: Network) -> Traced:
    """A `Bidirectional` recurrent layer.

    Both directions keep equal numbers of units, as Keras demands.
    """
    layer = call.operation
    ways = (layer.forward_layer, layer.backward_layer)
    obstacle = recurrent_obstacle(layer.forward_layer)
    if len(call.signals) > 1:
        obstacle = "is called with initial states"
    if not all(map(is_recurrent, ways)):
        obstacle = "wraps a layer that is not one of Keras's recurrent layers"
    signal = None
    if obstacle is None:
        signal = along_axis(call, channel_axis_in_time(ways[0]))
    if signal is None or (
        layer.merge_mode == "concat" and channel_axis_in_time(ways[0]) != -1
    ):
        return kept_whole(call, network, obstacle)
    forward, backward = (
        RecurrentUnits(way, call.path, signal, network) for way in ways
    )
    tensors = list(call.node.output_tensors)
    outputs: list[Signal] = []
    if layer.merge_mode is None:
        outputs = [
            units.signal_in(tensors.pop(0)) for units in (forward, backward)
        ]
    else:
        outputs = [
            _merged(
                layer.merge_mode, forward, backward, tensors.pop(0), network
            )
        ]
    states = len(tensors) // 2
    outputs += [forward.signal_in(t) for t in tensors[:states]]
    outputs += [backward.signal_in(t) for t in tensors[states:]]
    network.units[call.path] = outputs[0].channels
    both = np.stack([forward.units.channels, backward.units.channels])
    network.equal_groups.append(EqualGroups(call.path, (both,)))
    return Traced(
        tuple(outputs),
        lambda kept: _inside(
            {
                "layer": ("forward_layer", forward.reduction(kept)),
                "backward_layer": ("backward_layer", backward.reduction(kept)),
            }
        ),
    )


def spectral_normalization(call: Call, network: Network) -> Traced:
    """A `SpectralNormalization`, which rewrites the kernel as it trains."""
    return kept_whole(
        call,
        network,
        "divides the kernel of its layer by a norm in training; with the "
        "layer itself, `wrapper.layer`, in its place, units could go",
    )


def _merged(
    mode: str,
    forward: RecurrentUnits,
    backward: RecurrentUnits,
    tensor: Any,
    network: Network,
) -> Signal:
    """The output of both directions together."""
    first, second = forward.signal_in(tensor), backward.signal_in(tensor)
    if mode == "concat":
        return replace(
            first,
            channels=np.concatenate([first.channels, second.channels]),
            constants=np.concatenate([first.constants, second.constants]),
        )
    network.tie(first.channels, second.channels)
    each = np.isnan([first.constants, second.constants])
    varies = each.all(axis=0) if mode == "mul" else each.any(axis=0)
    return first.with_constants(np.where(varies, np.nan, 0.0))


def _without_time(tensor: Any) -> Any:
    """A symbolic tensor of the shape of one step."""
    batch, _, *others = tensor.shape
    return keras.KerasTensor((batch, *others), tensor.dtype)


def _inside(parts: dict[str, tuple[str, Reduction]]) -> Reduction:
    """The reduction of a wrapper.

    Args:
        parts: for each layer inside, by its key in the config of the wrapper,
            the attribute that holds the layer, and its reduction.
    """
    return Reduction(
        {
            # Keras must not build the layer inside for its old shape.
            name: {"config": part.config, "build_config": None}
            for name, (_, part) in parts.items()
        },
        {
            f"{attribute}.{name}": value
            for attribute, part in parts.values()
            for name, value in part.weights.items()
        },
    )
