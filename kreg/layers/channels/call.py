"""A call in a model's graph, and the channels and reduction traced for it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg.layers.channels.network import (
    Channels,
    Kept,
    Network,
    Operand,
    Parameter,
    Part,
    Signal,
)


@dataclass(frozen=True)
class Call:
    """A call of a layer or an operation on tensors.

    Args:
        operation: a layer, or an operation of `keras.ops`.
        path: its name in reports.
        operands: the channels of all tensors among its arguments, in order.
        signals: the channels of the tensors that are not masks. For most
            layers they are brought to one axis.
        masks: the channels of the masks.
        node: its node in the graph, with its arguments, its input tensors and
            its output tensors.
        training: whether it runs as in training.
        twin: the node of the same call when the model runs on a batch of
            another size, and on sequences of another length if it takes them.
            Defaults to `None`: there is no such run.
        is_fixed: whether its arguments other than tensors are the same in any
            smaller model. Custom code may compute them from the sizes of
            tensors; a graph of layers does not. Defaults to `False`.
        norms_as_operations: whether normalizations may become operations that
            know the sums of constant channels. Defaults to `False`.
    """

    operation: Any
    path: str
    operands: Sequence[Operand]
    signals: Sequence[Any]
    masks: Sequence[Operand]
    node: Any
    training: bool
    twin: Any = None
    is_fixed: bool = False
    norms_as_operations: bool = False

    def on(self, operands: Sequence[Operand]) -> "Call":
        """The same call on other channels."""
        if len(operands) != len(self.operands):
            return replace(self, operands=operands, signals=(), masks=())
        masks = set(map(id, self.masks))
        pairs = zip(operands, self.operands, strict=True)
        is_mask = [(new, id(old) in masks) for new, old in pairs]
        return replace(
            self,
            operands=operands,
            signals=[operand for operand, mask in is_mask if not mask],
            masks=[operand for operand, mask in is_mask if mask],
        )


@dataclass(frozen=True)
class Reduction:
    """How a layer becomes smaller.

    Args:
        config: the entries of its config that change.
        weights: the new values, by the attribute that holds the variable.
        replacement: function of a name and of the first argument of a call. It
            returns the layer or function to call in the place of this layer or
            operation. Only needed if no config describes the smaller one.
            Defaults to `None`.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    replacement: Callable[[str, Any], Callable[..., Any]] | None = None


@dataclass(frozen=True)
class Traced:
    """The channels of a call's outputs, and how its layer becomes smaller.

    Args:
        outputs: the channels of each output.
        reduce: function of the channels that are kept, which returns how the
            layer becomes smaller. None if the layer stays as it is in any case.
    """

    outputs: tuple[Any, ...]
    reduce: Callable[[Kept], Reduction] | None = None


Tracer = Callable[[Call, Network], Traced]


def kept_whole(call: Call, network: Network, why: str | None = None) -> Traced:
    """Keep all channels that enter or leave a call.

    Args:
        call: the call.
        network: the channels of the model.
        why: the reason for reports, after the name of the layer. Defaults to
            `None`: layers of its kind are kept whole.
    """
    kind = type(call.operation).__name__
    reason = f"`{call.path}` {why or f'({kind}) is kept whole'}"
    for operand in (*call.operands, *call.signals, *call.masks):
        for channels in every_number(operand):
            network.pin(channels, reason)
    outputs = tuple(
        fresh_signal(tensor, network) for tensor in call.node.output_tensors
    )
    for signal in outputs:
        network.pin(signal.channels, reason)
    return Traced(outputs)


def fresh_signal(tensor: Any, network: Network) -> Signal:
    """New channels along the last axis of a tensor, if it has any."""
    shape = tensor.shape
    has_channels = len(shape) > 1 and shape[-1] is not None
    return network.new(shape[-1] if has_channels else 0, len(shape) - 1)


def every_number(operand: Operand | None) -> list[Channels]:
    """The channels of a tensor; of a weight, those of each part."""
    if operand is None:
        return []
    if isinstance(operand, Parameter):
        return [channels for channels, _ in operand.parts]
    return [operand.channels]


def along_axis(call: Call, axis: int) -> Signal | None:
    """The channels of the only input; None if they lie along another axis."""
    if len(call.signals) != 1:
        return None
    signal = call.signals[0]
    rank = len(call.node.input_tensors[0].shape)
    matches = signal.axes == (axis % rank,) and len(signal.channels)
    return signal if matches else None


def with_channels(call: Call, network: Network, axis: int) -> Call:
    """The call of a layer on channels along the axis that it sums over.

    If the known channels lie along another axis, they are positions to the
    layer. Then they are all kept, and so are the places along its own axis.

    Args:
        call: the call, with one input.
        network: the channels of the model.
        axis: the axis that the layer sums over.
    """
    tensor = call.node.input_tensors[0]
    if along_axis(call, axis) is not None or tensor.shape[axis] is None:
        return call
    signal = network.new(tensor.shape[axis], axis % len(tensor.shape))
    for channels in (*(s.channels for s in call.signals), signal.channels):
        network.pin(
            channels, f"`{call.path}` takes channels along another axis"
        )
    return replace(call, signals=[signal])


def along_one_axis(operand: Operand, network: Network) -> Signal:
    """The channels along the last of their axes, for a layer that needs one.

    The other axes keep their sizes.

    Args:
        operand: channels along any number of axes.
        network: the channels of the model.
    """
    if isinstance(operand, Parameter):
        return _last_part(operand, network)
    signal = operand
    if signal.channels.ndim == 1:
        return signal
    rows = signal.channels.reshape(-1, signal.channels.shape[-1])
    for row in rows[1:]:
        network.tie(rows[0], row)
    constants = same_along(signal.constants.reshape(rows.shape), (0,))
    return Signal(rows[0], constants, (signal.axis,))


def _last_part(parameter: Parameter, network: Network) -> Signal:
    """The channels along the last axis of a weight; the other axes stay."""
    *others, last = sorted(parameter.parts, key=lambda part: part[1][-1])
    for numbers, _ in others:
        network.pin(numbers, "it lies along positions")
    return _one_part(parameter.values, last, network)


def weight_channels(
    values: NDArray[Any], parts: Sequence[Part], network: Network
) -> Any:
    """The channels of a weight that custom code uses itself.

    Args:
        values: the values of the weight.
        parts: its channels, and the axes along which they lie.
        network: the channels of the model.

    Returns:
        A `Signal` if all channels lie along the same axes, else a `Parameter`.
    """
    for channels, _ in parts:
        network.places(channels)
    if not parts:
        return signal_without_channels(values.ndim)
    if len(parts) > 1:
        return Parameter(values, tuple(parts))
    return _one_part(values, parts[0], network)


def _one_part(values: NDArray[Any], part: Part, network: Network) -> Signal:
    channels, axes = part
    positions = tuple(a for a in range(values.ndim) if a not in axes)
    return network.signal(channels, same_along(values, positions), axes)


def same_along(values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """The values that are the same along some axes, NaN for the others."""
    low, high = values.min(axis=axes), values.max(axis=axes)
    same: NDArray[Any] = np.where(low == high, low, np.nan).astype(np.float64)
    return same


def signal_without_channels(rank: int) -> Signal:
    """The signal of a tensor that has positions only."""
    return Signal(np.zeros(0, np.int64), np.zeros(0), (max(rank - 1, 0),))


def channel_axis(layer: keras.layers.Layer) -> int:
    """The axis of the channels in a layer with a data format."""
    return -1 if layer.data_format == "channels_last" else 1


def is_padded(layer: Any) -> bool:
    """Whether the window of a layer may reach over the border of its input."""
    return layer.padding != "valid" and any(s > 1 for s in layer.kernel_size)


def note_padding(
    call: Call, network: Network, signal: Signal, value: float = 0.0
) -> None:
    """Note which constant channels differ from the `value` of a padding."""
    differs = ~np.isnan(signal.constants) & (signal.constants != value)
    network.note_obstacle(
        signal.channels[differs],
        f"the padding of `{call.path}` differs from its constant",
    )


def array(variable: Any) -> NDArray[np.float64]:
    """The values of a vector, in double precision."""
    return matrix(variable).astype(np.float64)


def matrix(variable: Any) -> NDArray[Any]:
    """The values of a weight, in single precision unless they are double."""
    return _reader.get()(variable)


@contextmanager
def read_by(reader: Callable[[Any], NDArray[Any]]) -> Iterator[None]:
    """Let `array` and `matrix` return other values while a block runs.

    Args:
        reader: function of a variable that returns an array of its shape.
    """
    token = _reader.set(reader)
    try:
        yield
    finally:
        _reader.reset(token)


def _values(variable: Any) -> NDArray[Any]:
    values = ops.convert_to_numpy(ops.convert_to_tensor(variable))
    return values.astype("float64" if values.dtype == "float64" else "float32")


_reader: ContextVar[Callable[[Any], NDArray[Any]]] = ContextVar(
    "reader", default=_values
)
