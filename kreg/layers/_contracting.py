"""Operations that are sums of products: einsum, matmul, attention."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg._keras_private import carries_mask
from kreg.layers.channels.activations import same_in_twin
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_one_axis,
    every_number,
    fresh_signal,
    kept_whole,
    signal_without_channels,
)
from kreg.layers.channels.contraction import (
    EinsumSums,
    einsum_letters,
    matmul_letters,
    product,
    without_broadcast,
)
from kreg.layers.channels.network import (
    Channels,
    EqualGroups,
    Kept,
    Network,
    Parameter,
    Signal,
)


def einsum(call: Call, network: Network) -> Traced:
    """An `einsum` of two tensors."""
    ranks = [len(tensor.shape) for tensor in call.node.input_tensors]
    subscripts = call.operation.subscripts
    if len(ranks) != 2 or subscripts.count(",") != 1:
        return kept_whole(call, network)
    letters = einsum_letters(subscripts, ranks)
    return _contracted(call, network, letters)


def matmul(call: Call, network: Network) -> Traced:
    """A matrix product of two tensors."""
    ranks = [len(tensor.shape) for tensor in call.node.input_tensors]
    if len(ranks) != 2:
        return kept_whole(call, network)
    return _contracted(call, network, matmul_letters(*ranks))


def dot(call: Call, network: Network) -> Traced:
    """A `dot`, which differs from `matmul` for two tensors of high rank."""
    ranks = [len(tensor.shape) for tensor in call.node.input_tensors]
    if len(ranks) != 2 or min(ranks) < 1 or ranks[1] > 2:
        return kept_whole(call, network)
    return _contracted(call, network, matmul_letters(*ranks))


def dot_layer(call: Call, network: Network) -> Traced:
    """A `Dot` layer, which sums over an axis of each example."""
    layer, tensors = call.operation, call.node.input_tensors
    one, other = call.operands
    if not (isinstance(one, Signal) and isinstance(other, Signal)):
        return kept_whole(call, network)
    if layer.normalize:
        return kept_whole(call, network, "divides by norms over all channels")
    axes = np.broadcast_to(layer.axes, 2)
    first, second = (
        list(names[: len(tensor.shape)])
        for names, tensor in zip(("abcdef", "ghijkl"), tensors, strict=True)
    )
    second[0], second[axes[1]] = first[0], first[axes[0]]
    output = [c for c in first if c not in second[1:]]
    output += [c for c in second if c not in first]
    letters = ["".join(t) for t in (first, second, output)]
    made = product(call.path, network, one, other, letters, is_fixed=True)
    if made is None:
        return kept_whole(call, network)
    if not made.channels.size:  # two vectors give one number with an axis
        rank = len(call.node.output_tensors[0].shape)
        made = signal_without_channels(rank)
    return Traced((made,))


def tensordot(call: Call, network: Network) -> Traced:
    """A `tensordot` of two tensors over some of their axes."""
    ranks = [len(tensor.shape) for tensor in call.node.input_tensors]
    if len(ranks) != 2:
        return kept_whole(call, network)
    axes = call.operation.axes
    if isinstance(axes, int):
        pairs = [(ranks[0] - axes + i, i) for i in range(axes)]
    else:
        one, other = (np.atleast_1d(a).tolist() for a in axes)
        pairs = list(zip(one, other, strict=True))
    first = list("abcdefghijkl"[: ranks[0]])
    second = list("mnopqrstuvwx"[: ranks[1]])
    for a, b in pairs:
        second[b] = first[a]
    output = [c for c in (*first, *second) if not (c in first and c in second)]
    letters = ["".join(t) for t in (first, second, output)]
    return _contracted(call, network, letters)


def dot_product_attention(call: Call, network: Network) -> Traced:
    """The attention of queries, keys and values whose heads lie on an axis."""
    tensors, operands = call.node.input_tensors, call.operands
    operand_of = dict(zip(map(id, tensors), operands, strict=True))
    arguments: list[Any] = list(call.node.arguments.args)
    query, key, value = (operand_of.get(id(a)) for a in arguments[:3])
    if not (
        isinstance(query, Signal)
        and isinstance(key, Signal)
        and isinstance(value, Signal)
    ):
        return kept_whole(call, network)
    scores = product(
        call.path,
        network,
        query,
        key,
        ("btnh", "bsnh", "bnts"),
        is_fixed=call.is_fixed,
    )
    if scores is None:
        return kept_whole(call, network)
    network.heads.append(scores.channels)
    widths = [_places_along(3, signal, network) for signal in (query, value)]
    if len(widths[0]) == len(widths[1]):
        network.equal_groups.append(EqualGroups(call.path, (np.stack(widths),)))
    options = call.node.arguments.kwargs
    has_scale = len(arguments) > 5 or options.get("scale") is not None
    arguments = [*arguments[3:], *options.values()]
    for argument in arguments:
        shape: Any = getattr(argument, "shape", ())
        if len(shape) == 4 and shape[1] != 1:
            network.pin(
                scores.channels, f"`{call.path}` has a mask for each head"
            )
        for channels in every_number(operand_of.get(id(argument))):
            network.pin(channels, f"`{call.path}` uses it as a mask")
    weights = Signal(
        scores.channels, np.full(scores.channels.shape, np.nan), scores.axes, 3
    )
    output = product(
        call.path,
        network,
        weights,
        value,
        ("bnts", "bsnh", "btnh"),
        is_fixed=call.is_fixed,
    )
    if output is None:
        return kept_whole(call, network)

    def reduce(kept: Kept) -> Reduction:
        width = len(widths[0])
        if has_scale or kept(widths[0]).sum() == width:
            return Reduction({}, {})

        def scaled(*args: Any, **options: Any) -> Any:
            return call.operation(*args, **{**options, "scale": width**-0.5})

        return Reduction({}, {}, lambda name, query: scaled)

    return Traced((output,), reduce)


def _places_along(axis: int, signal: Signal, network: Network) -> Channels:
    """The places of channels along an axis; empty for one of positions."""
    places = network.places(signal.channels)
    return dict(zip(signal.axes, places, strict=True)).get(
        axis, np.zeros(0, np.int64)
    )


def attention(call: Call, network: Network) -> Traced:
    """An `Attention` layer, which has one head and no projections."""
    layer = call.operation
    query, value, *others = call.signals
    tensors = call.node.input_tensors
    if (
        layer.score_mode != "dot"
        or any(len(tensor.shape) != 3 for tensor in tensors[:3])
        or not all(s.axes == (2,) and s.channels.size for s in call.signals)
    ):
        return kept_whole(call, network)
    for mask in call.masks:
        for channels in every_number(mask):
            network.pin(channels, f"`{call.path}` uses it as a mask")
    key = others[0] if others else value
    product(
        call.path,
        network,
        query,
        key,
        ("btd", "bsd", "bts"),
        is_fixed=True,
    )
    # The outputs are zero for queries that a mask hides.
    has_mask = call.masks or any(map(carries_mask, tensors))
    sums_to_one = not has_mask and not (call.training and layer.dropout)
    weights = signal_without_channels(3)
    if sums_to_one:
        weights = replace(weights, sums_to_one=2)
    output = product(
        call.path,
        network,
        weights,
        value,
        ("bts", "bsd", "btd"),
        is_fixed=True,
    )
    if output is None:
        return kept_whole(call, network)
    scores = [fresh_signal(t, network) for t in call.node.output_tensors[1:]]
    return Traced((output, *scores))


def softmax(call: Call, network: Network) -> Traced:
    """A softmax, after which the entries along its axis sum to one.

    A `Softmax` layer may also be called with a mask. If the mask hides all
    entries along the axis, they are all zero, so their sum is not known.
    """
    operand, *masks = call.operands
    tensor, *others = call.node.input_tensors
    rank, axis = len(tensor.shape), call.operation.axis
    if not isinstance(operand, Signal):
        return kept_whole(call, network)
    axes = {a % rank for a in np.atleast_1d(axis).tolist()}
    for mask in masks:
        for channels in every_number(mask):
            network.pin(channels, f"`{call.path}` uses it as a mask")
    places = network.places(operand.channels)
    for own, numbers in zip(operand.axes, places, strict=True):
        if own in axes:
            network.pin(numbers, f"`{call.path}` divides by a sum over it")
        elif any(_size_along(own, rank, other) != 1 for other in others):
            network.pin(numbers, f"`{call.path}` has a mask for each of them")
    if len(places) == 1 and axes.isdisjoint(operand.axes):
        network.heads.append(operand.channels)
    scores = operand.varying()
    has_mask = masks or (
        isinstance(call.operation, keras.layers.Layer) and carries_mask(tensor)
    )
    along = set(operand.axes) if operand.channels.size else set()
    if has_mask or len(axes) > 1 or axes & along:
        return Traced((scores,))
    return Traced((replace(scores, sums_to_one=axes.pop()),))


def _size_along(axis: int, rank: int, tensor: Any) -> int:
    """The size of a tensor along an axis, once broadcast to a rank."""
    place = axis - (rank - len(tensor.shape))
    return int(tensor.shape[place]) if place >= 0 else 1


def reduction(call: Call, network: Network) -> Traced:
    """A reduction over axes of positions, such as a mean or a maximum."""
    operand, tensor = call.operands[0], call.node.input_tensors[0]
    rank = len(tensor.shape)
    if len(call.operands) != 1 or not isinstance(operand, Signal):
        return kept_whole(call, network)
    axes = call.operation.axis
    axes = range(rank) if axes is None else np.atleast_1d(axes).tolist()
    axes = {axis % rank for axis in axes}
    if not operand.channels.size or axes & set(operand.axes):
        kind = type(call.operation).__name__
        if (
            axes == set(operand.axes)
            and kind in ("Mean", "Sum")
            and call.is_fixed
            and "float" in str(tensor.dtype)
        ):
            return _sum_over_channels(call, network, operand)
        return kept_whole(
            call,
            network,
            "combines all channels"
            if call.is_fixed
            else "combines all channels in custom code; in `RMSNormalization` "
            "or another layer of Keras, channels that are 0 could go",
        )
    keeps = call.operation.keepdims
    moved = tuple(
        axis if keeps else axis - sum(a < axis for a in axes)
        for axis in operand.axes
    )
    constants = operand.constants
    if type(call.operation).__name__ not in _SAME_OF_CONSTANTS:
        zero = constants == 0
        network.note_obstacle(
            operand.channels[~zero & ~np.isnan(constants)],
            f"`{call.path}` makes it depend on the number of positions",
        )
        constants = np.where(zero, 0.0, np.nan)
    return Traced((Signal(operand.channels, constants, moved),))


def _sum_over_channels(call: Call, network: Network, signal: Signal) -> Traced:
    """A mean or a sum over all channels, from which constants can go.

    The operation that replaces it adds the constants that were removed. A mean
    still divides by the original number of channels.
    """
    constants, axes = signal.constants, signal.axes
    network.pin(
        signal.channels[np.isnan(constants)],
        f"`{call.path}` combines all channels",
    )
    divides = type(call.operation).__name__ == "Mean"
    keepdims = call.operation.keepdims

    def reduce(kept: Kept) -> Reduction:
        stay = kept(signal.channels)
        if stay.all():
            return Reduction({}, {})
        missing = float(constants[~stay].sum())

        def total(x: Any) -> Any:
            y = ops.sum(x, axis=axes, keepdims=keepdims) + missing
            return y / stay.size if divides else y

        return Reduction({}, {}, lambda name, x: total)

    rank = len(call.node.output_tensors[0].shape)
    return Traced((signal_without_channels(rank),), reduce)


_SAME_OF_CONSTANTS = ("Amax", "Amin", "Max", "Mean", "Median", "Min")


def _contracted(
    call: Call, network: Network, letters: Sequence[str] | None
) -> Traced:
    """The channels of an einsum of two tensors."""
    if letters is None or not same_in_twin(call.node, call.twin):
        return kept_whole(call, network)
    first, second, output = letters
    operands = list(call.operands)
    if all(isinstance(o, Parameter) for o in operands):
        operands[0] = along_one_axis(operands[0], network)
    if isinstance(operands[0], Parameter):
        operands.reverse()
        first, second = second, first
    signal, other = operands
    terms = first, second, output
    if not isinstance(signal, Signal):
        return kept_whole(call, network)
    if isinstance(other, Parameter):
        if not EinsumSums.fits(signal, terms):
            return kept_whole(call, network)
        sums = EinsumSums(call.path, network, signal, other.values, terms)
        sums.tie(network, other.parts, call.path)
        return Traced((sums.units,))
    shapes = [tensor.shape for tensor in call.node.input_tensors]
    terms = *without_broadcast((first, second), shapes, (signal, other)), output
    made = product(
        call.path, network, signal, other, terms, is_fixed=call.is_fixed
    )
    return kept_whole(call, network) if made is None else Traced((made,))
