"""Operations that are sums of products: einsum, matmul, attention."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from kreg._keras_private import carries_mask
from kreg.layers.channels.activations import same_in_twin
from kreg.layers.channels.call import (
    Call,
    Traced,
    along_one_axis,
    every_number,
    kept_whole,
)
from kreg.layers.channels.contraction import (
    EinsumSums,
    einsum_letters,
    matmul_letters,
    product,
)
from kreg.layers.channels.network import Network, Parameter, Signal


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
    known = dict(zip(map(id, tensors), operands, strict=True))
    arguments: list[Any] = list(call.node.arguments.args)
    query, key, value = (known.get(id(a)) for a in arguments[:3])
    if not (
        isinstance(query, Signal)
        and isinstance(key, Signal)
        and isinstance(value, Signal)
    ):
        return kept_whole(call, network)
    scores = product(call.path, network, query, key, ("btnh", "bsnh", "bnts"))
    if scores is None:
        return kept_whole(call, network)
    arguments = [*arguments[3:], *call.node.arguments.kwargs.values()]
    for argument in arguments:
        shape: Any = getattr(argument, "shape", ())
        if len(shape) == 4 and shape[1] != 1:
            network.pin(
                scores.channels, f"`{call.path}` adds to each head what it is"
            )
        for channels in every_number(known.get(id(argument))):
            network.pin(channels, f"`{call.path}` masks by it")
    weights = Signal(
        scores.channels, np.full(scores.channels.shape, np.nan), scores.axes, 3
    )
    output = product(
        call.path, network, weights, value, ("bnts", "bsnh", "btnh")
    )
    return kept_whole(call, network) if output is None else Traced((output,))


def softmax(call: Call, network: Network) -> Traced:
    """A softmax, after which the entries along its axis sum to one.

    As a layer it may be called with a mask, too. Where the mask hides all
    entries they are zero, so that nothing is known of their sum.
    """
    operand, *masks = call.operands
    tensor, *others = call.node.input_tensors
    rank, axis = len(tensor.shape), call.operation.axis
    if not isinstance(operand, Signal):
        return kept_whole(call, network)
    axes = {a % rank for a in np.atleast_1d(axis).tolist()}
    for mask in masks:
        for channels in every_number(mask):
            network.pin(channels, f"`{call.path}` masks by it")
    places = network.places(operand.channels)
    for own, along in zip(operand.axes, places, strict=True):
        if own in axes:
            network.pin(along, f"`{call.path}` divides by their sum")
        elif any(_size_along(own, rank, other) != 1 for other in others):
            network.pin(along, f"`{call.path}` masks each of them by itself")
    scores = operand.varying()
    has_mask = masks or (
        isinstance(call.operation, keras.layers.Layer) and carries_mask(tensor)
    )
    if has_mask or len(axes) > 1 or axes & set(operand.axes):
        return Traced((scores,))
    return Traced((replace(scores, sums_to_one=axes.pop()),))


def _size_along(axis: int, rank: int, tensor: Any) -> int:
    """The size along an axis of a tensor that is spread to a rank."""
    place = axis - (rank - len(tensor.shape))
    return int(tensor.shape[place]) if place >= 0 else 1


def reduction(call: Call, network: Network) -> Traced:
    """The mean, the largest or the sum over axes of positions."""
    operand, tensor = call.operands[0], call.node.input_tensors[0]
    rank = len(tensor.shape)
    if len(call.operands) != 1 or not isinstance(operand, Signal):
        return kept_whole(call, network)
    axes = call.operation.axis
    axes = range(rank) if axes is None else np.atleast_1d(axes).tolist()
    axes = {axis % rank for axis in axes}
    if not operand.channels.size or axes & set(operand.axes):
        return kept_whole(call, network, "combines all channels")
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
        operands[0] = along_one_axis(operands[0], len(first), network)
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
    made = product(call.path, network, signal, other, terms)
    return kept_whole(call, network) if made is None else Traced((made,))
