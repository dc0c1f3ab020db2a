"""Layers and operations that add, multiply or concatenate tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from kreg._keras_private import carries_mask
from kreg.layers.channels.activations import (
    arguments_in_twin,
    is_plain_argument,
    plain_argument,
)
from kreg.layers.channels.call import (
    Call,
    Traced,
    Tracer,
    along_one_axis,
    kept_whole,
    same_along,
    signal_without_channels,
)
from kreg.layers.channels.network import (
    Network,
    Operand,
    Parameter,
    Part,
    Signal,
    Values,
)

Combine = Callable[[NDArray[np.float64]], Values]


@dataclass(frozen=True)
class _Term:
    """A tensor, an array or a number that is combined with others.

    Args:
        shape: its shape.
        operand: its channels; None for an array or a number.
        values: the number, if it is one. Defaults to `None`.
    """

    shape: tuple[int, ...]
    operand: Operand | None
    values: NDArray[Any] | None = None

    @property
    def signal(self) -> Signal | None:
        """Its channels, if it has any along known axes."""
        if isinstance(self.operand, Signal) and self.operand.channels.size:
            return self.operand
        return None

    @property
    def parts(self) -> Sequence[Part]:
        """Its channels, and the axes along which they lie."""
        if isinstance(self.operand, Parameter):
            return self.operand.parts
        signal = self.signal
        return () if signal is None else ((signal.channels, signal.axes),)

    @property
    def constants(self) -> NDArray[np.float64]:
        """Its known values, NaN elsewhere, in a shape that fits its own."""
        rank = len(self.shape)
        if self.values is not None:
            return self.values.astype(np.float64)
        if isinstance(self.operand, Parameter):
            return self.operand.values.astype(np.float64)
        signal = self.signal
        if signal is None:
            return np.full((1,) * rank, np.nan)
        shape = [1] * rank
        for axis, size in zip(signal.axes, signal.channels.shape, strict=True):
            shape[axis] = size
        return signal.constants.reshape(shape)


def combining(combine: Combine) -> Tracer:
    """The tracer of an operation that combines tensors entry by entry.

    Channels in the same place stay or go together.

    Args:
        combine: function of constants of shape (tensors, channels...), NaN
            where a channel varies; it returns the value of each channel.
    """

    def trace(call: Call, network: Network) -> Traced:
        rank = len(call.node.output_tensors[0].shape)
        terms = _terms(call)
        if all(term.signal is None for term in terms):
            terms = [_along_one_axis(term, network) for term in terms]
        candidates = [(t.signal, t) for t in terms if t.signal is not None]
        if not candidates:
            return Traced((signal_without_channels(rank),))
        signal, main = max(candidates, key=lambda c: _rank(c[0], network))
        shift = rank - len(main.shape)
        result = Signal(
            signal.channels,
            signal.constants,
            tuple(axis + shift for axis in signal.axes),
        )
        for term in terms:
            if term is not main:
                _tie(call, network, term, result, rank)
        values = np.stack([_at_channels(t, result, rank) for t in terms])
        with np.errstate(all="ignore"):
            constants = combine(values)
        constants = np.where(np.isfinite(constants), constants, np.nan)
        if any(map(carries_mask, call.node.input_tensors)):
            stay = _stay_where_masked(call.operation, values, constants)
            constants = np.where(stay, constants, np.nan)
        _note_mixtures(call, network, terms, result, values, constants)
        return Traced((result.with_constants(constants),))

    return trace


def _stay_where_masked(
    operation: keras.Operation, values: NDArray[np.float64], constants: Values
) -> NDArray[np.bool_]:
    """Which constants do not change at positions that a mask hides.

    At such positions, some layers of Keras leave out a tensor, or return 0 as
    the product.
    """
    if isinstance(operation, layers.Multiply):
        return (values == 0).all(axis=0)
    if isinstance(operation, layers.Maximum | layers.Minimum):
        return (values == constants).all(axis=0)
    return np.ones(constants.shape, bool)


def _terms(call: Call) -> list[_Term]:
    by_tensor = {
        id(tensor): operand
        for tensor, operand in zip(
            call.node.input_tensors, call.operands, strict=True
        )
    }
    terms = []
    for argument, same in arguments_in_twin(call.node, call.twin):
        if isinstance(argument, keras.KerasTensor):
            shape = tuple(argument.shape)
            terms.append(_Term(shape, by_tensor[id(argument)]))
        elif (
            argument is None
            or isinstance(argument, str)
            # `training` is an argument of a layer, but not a term.
            or isinstance(call.operation, keras.layers.Layer)
        ):
            continue
        elif is_plain_argument(argument) and same:
            terms.append(_Term((), None, np.asarray(plain_argument(argument))))
        else:
            # The values may depend on the sizes of the inputs.
            terms.append(_Term(np.shape(argument), None))
    return terms


def _along_one_axis(term: _Term, network: Network) -> _Term:
    if not isinstance(term.operand, Parameter):
        return term
    signal = along_one_axis(term.operand, network)
    return _Term(term.shape, signal)


def _rank(signal: Signal, network: Network) -> tuple[Any, ...]:
    """The sort key of tensors; the largest gives the result its channels."""
    spread = signal.channels.size > 1
    free = not network.is_pinned(signal.channels)
    return spread, free, len(signal.axes), signal.channels.size


def _tie(
    call: Call, network: Network, term: _Term, main: Signal, rank: int
) -> None:
    """Let channels in the same place stay or go together."""
    shift = rank - len(term.shape)
    places = dict(zip(main.axes, network.places(main.channels), strict=True))
    along: set[int] = set()
    for channels, own_axes in term.parts:
        axes = tuple(axis + shift for axis in own_axes)
        along.update(axes)
        if axes == main.axes and channels.shape == main.channels.shape:
            network.tie(channels, main.channels)
            continue
        for axis, own in zip(axes, network.places(channels), strict=True):
            if axis not in places:
                network.pin(own, f"`{call.path}` uses it by its position")
            elif len(own) == len(places[axis]):
                network.tie(own, places[axis])
            else:
                network.pin(own, f"`{call.path}` broadcasts it over others")
    for axis in main.axes:
        size = term.shape[axis - shift] if axis >= shift else 1
        if axis not in along and size > 1:
            network.pin(
                places[axis], f"`{call.path}` combines it with fixed numbers"
            )


def _at_channels(term: _Term, main: Signal, rank: int) -> NDArray[np.float64]:
    """The constants of a term at the channels of the result."""
    values = term.constants.reshape(
        (1,) * (rank - len(term.shape)) + term.constants.shape
    )
    positions = tuple(a for a in range(rank) if a not in main.axes)
    return np.broadcast_to(same_along(values, positions), main.channels.shape)


def concatenation(call: Call, network: Network) -> Traced:
    """A concatenation along the channels or another axis."""
    rank = len(call.node.output_tensors[0].shape)
    axis = call.operation.axis % rank
    signals = [
        along_one_axis(operand, network)
        if isinstance(operand, Parameter)
        else operand
        for operand in call.operands
    ]
    if not any(signal.channels.size for signal in signals):
        return Traced((signal_without_channels(rank),))
    if any(s.axes == (axis,) and s.channels.size for s in signals):
        signals = _with_positions(call, network, axis, signals)
    first = signals[0]
    if {s.axes for s in signals} != {first.axes} or not all(
        s.channels.size for s in signals
    ):
        return kept_whole(call, network)
    shapes = {s.channels.shape for s in signals}
    if axis in first.axes:
        along = first.axes.index(axis)
        for other in signals[1:]:
            pairs = zip(
                network.places(first.channels),
                network.places(other.channels),
                strict=True,
            )
            for i, (a, b) in enumerate(pairs):
                if i != along:
                    network.tie(a, b)
        return Traced(
            (
                network.signal(
                    np.concatenate([s.channels for s in signals], along),
                    np.concatenate([s.constants for s in signals], along),
                    first.axes,
                ),
            )
        )
    if len(shapes) > 1:
        return kept_whole(call, network)
    for signal in signals[1:]:
        network.tie(first.channels, signal.channels)
    values = np.stack([s.constants for s in signals])
    constants = same_along(values, (0,))
    terms = [_Term((1,) * rank, signal) for signal in signals]
    _note_mixtures(call, network, terms, first, values, constants)
    return Traced((first.with_constants(constants),))


def _with_positions(
    call: Call, network: Network, axis: int, signals: Sequence[Signal]
) -> list[Signal]:
    """Channels that stay, in the place of positions beside other channels."""
    found = []
    for place, signal in enumerate(signals):
        nodes = (call.node, call.twin or call.node)
        sizes = {node.input_tensors[place].shape[axis] for node in nodes}
        if not signal.channels.size and len(sizes) == 1:
            signal = network.new(sizes.pop(), axis)
            network.pin(
                signal.channels, f"`{call.path}` joins them as positions"
            )
        found.append(signal)
    return found


def _note_mixtures(
    call: Call,
    network: Network,
    terms: Sequence[_Term],
    main: Signal,
    values: NDArray[np.float64],
    constants: Values,
) -> None:
    """Note the constant channels that combining with others made vary."""
    for term, before in zip(terms, values, strict=True):
        signal = term.signal
        if signal is not None and signal.channels.shape == main.channels.shape:
            lost = ~np.isnan(before) & np.isnan(constants)
            network.note_obstacle(
                signal.channels[lost],
                f"`{call.path}` combines it with values that vary",
            )


def _product(values: NDArray[np.float64]) -> Values:
    """The product of each channel, which is 0 if a factor is 0."""
    return np.where((values == 0).any(axis=0), 0.0, values.prod(axis=0))


def _chosen(values: NDArray[np.float64]) -> Values:
    """The chosen constants; those that both choices share for any condition."""
    condition, one, other = values
    chosen = np.where(condition != 0, one, other)
    unknown = np.isnan(condition) & (one != other)
    return np.where(unknown, np.nan, chosen)


def _compared(compare: Combine) -> Tracer:
    """The tracer of a comparison of two tensors.

    A model compares numbers in single precision. Where these compare otherwise
    than in double precision, the result is not known.
    """

    def values_of(values: NDArray[np.float64]) -> Values:
        results = compare(values)
        is_unknown = np.isnan(values).any(axis=0)
        is_unknown |= results != compare(values.astype(np.float32))
        return np.where(is_unknown, np.nan, results)

    return combining(values_of)


total = combining(lambda values: values.sum(axis=0))
mean = combining(lambda values: values.mean(axis=0))
largest = combining(lambda values: values.max(axis=0))
smallest = combining(lambda values: values.min(axis=0))
product = combining(_product)
difference = combining(lambda values: values[0] - values[1])
quotient = combining(lambda values: values[0] / values[1])
power = combining(lambda values: values[0] ** values[1])
choice = combining(_chosen)
equal = _compared(lambda values: values[0] == values[1])
not_equal = _compared(lambda values: values[0] != values[1])
greater = _compared(lambda values: values[0] > values[1])
greater_equal = _compared(lambda values: values[0] >= values[1])
less = _compared(lambda values: values[0] < values[1])
less_equal = _compared(lambda values: values[0] <= values[1])
unknown = combining(lambda values: np.full(values.shape[1:], np.nan))
