"""Operations that only move entries, such as transpose, reshape and slice.

The operation itself shows where channels go: it is run on a tensor that holds
the number of a channel in the place of each entry.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
from keras import ops, tree
from numpy.typing import NDArray

from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    kept_whole,
    same_along,
    signal_without_channels,
    weight_channels,
)
from kreg.layers.channels.network import (
    Channels,
    Kept,
    Network,
    Operand,
    Parameter,
    Part,
    Signal,
)

Numbers = NDArray[np.int64]


def moved(call: Call, network: Network) -> Traced:
    """An operation that moves all entries, or repeats them."""
    return _rearranged(call, network)


def picked(call: Call, network: Network) -> Traced:
    """An operation that picks entries by their place in the tensor.

    If it picks only some places along an axis, or changes their order, all
    places along this axis must stay.
    """
    return _rearranged(call, network, picks=True)


def split(call: Call, network: Network) -> Traced:
    """A `split`, whose parts keep the same channels if they are equal."""
    equal = isinstance(
        getattr(call.operation, "indices_or_sections", None), int
    )
    of_weight = any(isinstance(o, Parameter) for o in call.operands)
    follow = _rearranged_parameter if of_weight else _rearranged
    done = follow(call, network, picks=not equal)
    first, *others = map(_parts, done.outputs)
    for other in others:
        for (own, _), (channels, _) in zip(first, other, strict=True):
            if own.shape == channels.shape:
                network.tie(own, channels)
    return done


def reshaped(call: Call, network: Network) -> Traced:
    """A `reshape` or `broadcast_to`, whose sizes shrink with the channels."""
    done = _rearranged(call, network)
    (signal,) = done.outputs
    name = next(n for n in ("newshape", "shape") if hasattr(call.operation, n))
    sizes = list(getattr(call.operation, name))
    places = {
        axis: along
        for channels, axes in _parts(signal)
        for axis, along in zip(axes, network.places(channels), strict=True)
    }

    def reduce(kept: Kept) -> Reduction:
        changed = [
            size
            if size == -1
            or axis not in places
            # An axis whose channels are not known stays as it is.
            or not len(places[axis])
            else int(kept(places[axis]).sum())
            for axis, size in enumerate(sizes)
        ]
        return Reduction({name: changed}, {})

    return Traced(done.outputs, reduce)


def _parts(operand: Operand) -> Sequence[Part]:
    """The channels of a tensor, and the axes along which they lie."""
    if isinstance(operand, Parameter):
        return operand.parts
    return [(operand.channels, operand.axes)]


def rearranged_signals(
    call: Call, signals: Sequence[Signal]
) -> list[Signal] | None:
    """The channels of the outputs; None if they depend on the inputs' sizes."""
    outputs = _through(call.node, signals)
    if call.twin is None:
        return outputs
    if not _have_sizes_of(call.twin.input_tensors, signals):
        return None
    twin_outputs = _through(call.twin, signals)
    alike = all(
        a.axes == b.axes and np.array_equal(a.channels, b.channels)
        for a, b in zip(outputs, twin_outputs, strict=True)
    )
    return outputs if alike else None


def _have_sizes_of(tensors: Sequence[Any], signals: Sequence[Signal]) -> bool:
    """Whether tensors have one entry for each channel along their axes."""
    return all(
        tensor.shape[axis] == size
        for tensor, signal in zip(tensors, signals, strict=True)
        for axis, size in zip(signal.axes, signal.channels.shape, strict=True)
    )


def _rearranged(call: Call, network: Network, picks: bool = False) -> Traced:
    tensors = call.node.output_tensors
    operands = call.operands
    if any(isinstance(o, Parameter) for o in operands):
        return _rearranged_parameter(call, network)
    signals = [o for o in operands if isinstance(o, Signal)]
    stacks = type(call.operation).__name__ == "Stack"
    if len(operands) > 1 and not stacks:
        return kept_whole(call, network, "moves it to computed places")
    have_channels = [bool(s.channels.size) for s in signals]
    if not any(have_channels):
        return Traced(
            tuple(signal_without_channels(len(t.shape)) for t in tensors)
        )
    if not all(have_channels):
        return kept_whole(call, network, "joins tensors whose channels differ")
    outputs = rearranged_signals(call, signals)
    if outputs is None:
        return kept_whole(call, network, "depends on the size of its input")
    _follow_places(call, network, signals, outputs, picks)
    return Traced(
        tuple(
            _with_axis(signal, tensor, call, network)
            for signal, tensor in zip(outputs, tensors, strict=True)
        )
    )


def _with_axis(
    signal: Signal, tensor: Any, call: Call, network: Network
) -> Signal:
    """The signal of an output, in which channels lie along an axis.

    A single channel is put on the last axis if this axis has the size 1.
    """
    network.places(signal.channels)
    if signal.axes:
        return signal
    network.pin(signal.channels, f"`{call.path}` picks it")
    rank = len(tensor.shape)
    if rank > 1 and tensor.shape[-1] == 1:
        return Signal(
            signal.channels.reshape(1), signal.constants.reshape(1), (rank - 1,)
        )
    return signal_without_channels(rank)


def _rearranged_parameter(
    call: Call, network: Network, picks: bool = True
) -> Traced:
    """A weight that is transposed, sliced or repeated before it is used."""
    parameter, *others = call.operands
    if others or not isinstance(parameter, Parameter):
        return kept_whole(call, network)
    try:
        values = _outputs(call.node, [parameter.values])
    except Exception:  # of the backend
        # A table of positions may be shorter than the inputs that are tried.
        return kept_whole(call, network, "picks more entries than there are")
    parts: list[list[Part]] = [[] for _ in values]
    for channels, axes in parameter.parts:
        part = Signal(channels, np.zeros(channels.shape), axes)
        outputs = rearranged_signals(call, [part])
        if outputs is None or not all(output.axes for output in outputs):
            # These are positions: how many are used depends on the input.
            network.pin(channels, f"`{call.path}` picks some of them")
        else:
            _follow_places(call, network, [part], outputs, picks)
            for made, output in zip(parts, outputs, strict=True):
                made.append((output.channels, output.axes))
    return Traced(
        tuple(
            weight_channels(value, made, network)
            for value, made in zip(values, parts, strict=True)
        )
    )


def _through(node: Any, signals: Sequence[Signal]) -> list[Signal]:
    """The signals of the outputs; one with a single channel has no axis."""
    channels = np.concatenate([s.channels.ravel() for s in signals])
    constants = np.concatenate([s.constants.ravel() for s in signals])
    outputs = []
    for numbers in _outputs(node, _numbered(node, signals)):
        ids = channels[numbers]
        axes, positions = _varying(ids)
        at_first = tuple(
            slice(None) if a in axes else 0 for a in range(ids.ndim)
        )
        values = constants[numbers]
        if not np.isnan(values).all():
            values = same_along(values, positions)
        else:
            values = values[at_first]
        one = _sum_axis(node, signals[0]) if len(signals) == 1 else None
        outputs.append(Signal(ids[at_first], values, axes, one))
    return outputs


def _varying(numbers: Numbers) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes along which numbers differ, and those along which none does."""
    differ = [
        not size or bool((numbers != numbers.take([0], axis=a)).any())
        for a, size in enumerate(numbers.shape)
    ]
    axes = tuple(a for a, varies in enumerate(differ) if varies)
    return axes, tuple(a for a, varies in enumerate(differ) if not varies)


def _sum_axis(node: Any, signal: Signal) -> int | None:
    """The axis along which the entries of the output sum to one."""
    if signal.sums_to_one is None:
        return None
    shape = node.input_tensors[0].shape
    size = shape[signal.sums_to_one]
    places = Signal(np.arange(size), np.zeros(size), (signal.sums_to_one,))
    moved, *others = _outputs(node, _numbered(node, [places]))
    axes, _ = _varying(moved)
    if others or len(axes) != 1 or moved.shape[axes[0]] != size:
        return None
    row = np.moveaxis(moved, axes[0], -1).reshape(-1, size)[0]
    return axes[0] if np.array_equal(row, np.arange(size)) else None


def _numbered(node: Any, signals: Sequence[Signal]) -> list[Numbers]:
    """A tensor for each input, with the indices of its entries' channels.

    The indices run through the channels of all inputs.
    """
    first, tensors = 0, []
    for tensor, signal in zip(node.input_tensors, signals, strict=True):
        shape = [1] * len(tensor.shape)
        for axis, size in zip(signal.axes, signal.channels.shape, strict=True):
            shape[axis] = size
        numbers = first + np.arange(signal.channels.size).reshape(shape)
        tensors.append(np.broadcast_to(numbers, tensor.shape))
        first += signal.channels.size
    return tensors


def _outputs(node: Any, tensors: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of an operation on given tensors."""
    values = {}
    for tensor, value in zip(node.input_tensors, tensors, strict=True):
        if value.dtype == np.int64:
            value = value.astype(np.int32)
        values[id(tensor)] = ops.convert_to_tensor(np.ascontiguousarray(value))
    args, kwargs = node.arguments.fill_in(values)
    # Calls of layers may have these arguments although `call` lacks them.
    taken = signature(node.operation.call).parameters
    for name in {"training", "mask"}.difference(taken):
        kwargs.pop(name, None)
    outputs = tree.flatten(node.operation.call(*args, **kwargs))
    return [np.asarray(ops.convert_to_numpy(output)) for output in outputs]


def _follow_places(
    call: Call,
    network: Network,
    signals: Sequence[Signal],
    outputs: Sequence[Signal],
    picks: bool,
) -> None:
    """Let places along axes of the inputs stay with those of the outputs.

    Args:
        call: the call.
        network: the channels of the model.
        signals: the channels of the inputs.
        outputs: the channels of the outputs.
        picks: whether all places along an axis must stay if they are not all
            passed on in order.
    """
    ties = len(signals) == 1 and signals[0].channels.ndim > 1
    if not (picks or ties):
        return
    sizes = [s.channels.size for s in signals]
    starts = np.cumsum([0, *sizes])
    results = _outputs(call.node, _numbered(call.node, signals))
    for signal, start, size in zip(signals, starts, sizes, strict=False):
        shape = signal.channels.shape
        places = network.places(signal.channels)
        found = [
            np.unravel_index((r - start).clip(0, size - 1), shape)
            for r in results
        ]
        for axis, along in enumerate(places if picks else ()):
            if not all(_in_order(f[axis], shape[axis]) for f in found):
                network.pin(along, f"`{call.path}` picks it by its place")
        for numbers, output in zip(found, outputs, strict=True):
            if ties:
                _tie_places(places, numbers, output, network)


def _tie_places(
    places: Sequence[Channels],
    numbers: Sequence[Numbers],
    output: Signal,
    network: Network,
) -> None:
    """Tie places along axes of an input to those along axes of an output.

    An axis of the output that joins several axes of the input has none of
    their places.

    Args:
        places: the places along each axis of the input.
        numbers: for each axis, the places that the entries of the output come
            from.
        output: the channels of the output.
        network: the channels of the model.
    """
    varying = [_varying(n)[0] for n in numbers]
    made = network.places(output.channels)
    for own, from_place, axes in zip(places, numbers, varying, strict=True):
        if (
            len(axes) == 1
            and axes[0] in output.axes
            and sum(axes[0] in others for others in varying) == 1
        ):
            (axis,) = axes
            new = made[output.axes.index(axis)]
            row = np.moveaxis(from_place, axis, -1).reshape(-1, len(new))[0]
            network.tie(own[row], new)


def _in_order(places: Numbers, size: int) -> bool:
    """Whether all places are passed on, in order or reversed, on one axis."""
    axes, _ = _varying(places)
    if size == 1:
        return True
    if len(axes) != 1 or places.shape[axes[0]] != size:
        return False
    row = np.moveaxis(places, axes[0], -1).reshape(-1, size)[0]
    return np.array_equal(row, np.arange(size)) or np.array_equal(
        row, np.arange(size)[::-1]
    )
