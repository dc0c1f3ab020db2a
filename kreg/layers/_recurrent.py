"""Recurrent layers and their cells.

The state of a layer starts at 0. So the only units that are constant over a
whole sequence are those that stay at 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from kreg._keras_private import ConvLSTMCell
from kreg.layers.channels.activations import applied_to_constants
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    is_padded,
    kept_whole,
    matrix,
)
from kreg.layers.channels.network import Kept, Network, Signal, WeightedSum
from kreg.regularizers.grouping import Grouping, UnitsAndInputs, all_but

Gates = NDArray[Any]


def cell_axes(gates: int) -> Callable[..., UnitsAndInputs | None]:
    """The axes of a cell whose weights end in `gates` blocks of all units."""

    def resolve(
        layer: keras.layers.Layer, name: str, shape: Sequence[int]
    ) -> UnitsAndInputs | None:
        view = (*shape[:-1], gates, shape[-1] // gates)
        units = Grouping(view, tuple(range(len(view) - 1)))
        if name == "bias":
            return units, None
        if name in ("kernel", "recurrent_kernel"):
            return units, all_but(shape, -2)
        return None

    return resolve


def recurrent_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """Every matrix of the cell is applied in each step, at every position."""
    steps = arguments[0].shape[1]
    shape = output[2:] if layer.return_sequences else output[1:]
    matrices = [
        v.shape
        for v in layer.cell.weights
        if len(v.shape) > 1 and not v.name.endswith("bias")
    ]
    positions = 1
    if len(shape) > 1:  # a convolution in each step
        positions = math.prod(shape) // layer.cell.filters
    return steps * positions * sum(map(math.prod, matrices))


# For each kind of cell: the number of gates, the index of the candidate among
# them, and the name of the argument for the number of units. The other gates
# only scale the candidate and the state.
_CELLS: Mapping[type, tuple[int, int, str]] = {
    layers.SimpleRNNCell: (1, 0, "units"),
    layers.GRUCell: (3, 2, "units"),
    layers.LSTMCell: (4, 2, "units"),
    ConvLSTMCell: (4, 2, "filters"),
}


RECURRENT_LAYERS = (
    layers.ConvLSTM1D,
    layers.ConvLSTM2D,
    layers.ConvLSTM3D,
    layers.LSTM,
    layers.GRU,
    layers.SimpleRNN,
)
"""The recurrent layers that make their own cell."""


def recurrent_channels(call: Call, network: Network) -> Traced:
    """A recurrent layer that makes its own cell."""
    layer = call.operation
    obstacle = recurrent_obstacle(layer)
    if len(call.signals) > 1:
        obstacle = "is called with an initial state"
    signal = along_axis(call, channel_axis_in_time(layer))
    if obstacle or signal is None:
        return kept_whole(call, network, obstacle)
    sums = RecurrentUnits(layer, call.path, signal, network)
    network.units[call.path] = sums.units.channels
    return Traced(
        tuple(sums.signal_in(t) for t in call.node.output_tensors),
        sums.reduction,
    )


def other_cells(call: Call, network: Network) -> Traced:
    """An `RNN`, whose cell may compute anything."""
    stacked = isinstance(call.operation.cell, layers.StackedRNNCells)
    return kept_whole(
        call,
        network,
        "runs several cells in each step; one recurrent layer for each of "
        "them would let units go"
        if stacked
        else "runs a cell that it did not make; in `LSTM`, `GRU` and "
        "`SimpleRNN`, units can go",
    )


def is_recurrent(layer: Any) -> bool:
    """Whether a layer is one of Keras's recurrent layers with one cell."""
    return type(layer) in RECURRENT_LAYERS


def recurrent_obstacle(layer: Any) -> str | None:
    """Why a recurrent layer is kept whole; None if it need not be."""
    if layer.stateful:
        return "keeps its state from batch to batch (`stateful=True`)"
    return None


def channel_axis_in_time(layer: Any) -> int:
    """The axis of the channels in the inputs of a recurrent layer."""
    cell = layer.cell
    first = getattr(cell, "data_format", None) == "channels_first"
    return -1 - cell.rank if first else -1


class RecurrentUnits:
    """The units of a recurrent layer whose cell is in `_CELLS`.

    Args:
        layer: the layer.
        path: its name in reports.
        signal: the channels of its inputs.
        network: the channels of the model, to which the units are added.

    Attributes:
        units: the units, constant if they are 0 in every step.
    """

    def __init__(
        self, layer: Any, path: str, signal: Signal, network: Network
    ) -> None:
        self._layer, self._cell, self._signal = layer, layer.cell, signal
        gates, _, self._size = _CELLS[type(self._cell)]
        self._kernel = _split_gates(matrix(self._cell.kernel), gates)
        self._recurrent = _split_gates(
            matrix(self._cell.recurrent_kernel), gates
        )
        self._bias = None
        if self._cell.use_bias:
            self._bias = _split_gates(array(self._cell.bias), gates)
        padded = isinstance(self._cell, ConvLSTMCell) and is_padded(self._cell)
        # The values of inputs that fill whole windows.
        self._uniform = signal.constants
        if padded:
            self._uniform = np.where(signal.constants == 0, 0.0, np.nan)
            lost = ~np.isnan(signal.constants) & (signal.constants != 0)
            network.note_obstacle(
                signal.channels[lost],
                f"the padding of `{path}` differs from its constant",
            )
        units = network.new(self._kernel.shape[-1], signal.axis)
        constants = np.where(self._stay_at_zero(), 0.0, np.nan)
        self.units = units.with_constants(constants)
        for inputs, weights, values, folds in (
            (signal.channels, self._kernel, self._uniform, True),
            (units.channels, self._recurrent, constants, False),
        ):
            network.sums.append(
                WeightedSum(
                    path,
                    inputs,
                    units.channels,
                    (weights != 0).any(axis=(0, 2)),
                    values,
                    folds=folds,
                    merges=False,
                )
            )

    def signal_in(self, tensor: Any) -> Signal:
        """The units in an output of the layer, a sequence or a state."""
        axis = channel_axis_in_time(self._layer) % len(tensor.shape)
        return self.units.moved(axis)

    def reduction(self, kept: Kept) -> Reduction:
        """The layer with the inputs and units that are kept."""
        inputs, stay = kept(self._signal.channels), kept(self.units.channels)
        removed = np.where(inputs, 0.0, np.nan_to_num(self._uniform))
        shift = np.einsum("i,wigu->gu", removed, self._kernel)[..., stay]
        bias = None if self._bias is None else self._bias[..., stay].copy()
        split = getattr(self._cell, "reset_after", False)
        if bias is None and shift.any():
            bias = np.zeros((1, 2 if split else 1, *shift.shape))
        weights = {
            "cell.kernel": _joined(
                self._kernel[:, inputs][..., stay], self._cell.kernel
            ),
            "cell.recurrent_kernel": _joined(
                self._recurrent[:, stay][..., stay], self._cell.recurrent_kernel
            ),
        }
        if bias is not None:
            bias[0, 0] += shift
            flat = bias.reshape(bias.shape[1], -1)
            weights["cell.bias"] = flat if split else flat[0]
        return Reduction(
            {self._size: int(stay.sum()), "use_bias": bias is not None}, weights
        )

    def _stay_at_zero(self) -> NDArray[np.bool_]:
        """Which units are 0 in every step, for all inputs.

        These are the units whose candidate is 0, because the other gates only
        scale the candidate and the state.
        """
        _, gate, _ = _CELLS[type(self._cell)]
        count = self._kernel.shape[-1]
        at_zero = applied_to_constants(
            self._cell.activation, np.zeros(1), "float32"
        )
        if at_zero[0] != 0:
            return np.zeros(count, bool)
        varies = np.isnan(self._uniform)
        kernel = self._kernel[:, :, gate]
        value = np.where(varies, 0.0, self._uniform) @ kernel.sum(
            axis=0, dtype=np.float64
        )
        silent = ~(kernel[:, varies] != 0).any(axis=(0, 1))
        parts = [value]
        if self._bias is not None:
            first, *further = self._bias[0, :, gate]
            parts = [value + first, *further]
        zero = silent & np.all([p == 0 for p in parts], axis=0)
        # A unit stays at 0 only if all units that it reads do.
        reads = (self._recurrent[:, :, gate] != 0).any(axis=0)
        while True:
            reads_others = reads[~zero].any(axis=0)
            if not (zero & reads_others).any():
                return zero
            zero = zero & ~reads_others


def _split_gates(values: NDArray[Any], gates: int) -> Gates:
    """Reshape to (window, rows, gates, units).

    Each part of a bias is a row. The window is 1 except for convolutions.
    """
    rows = 1 if values.ndim == 1 else values.shape[-2]
    return values.reshape(-1, rows, gates, values.shape[-1] // gates)


def _joined(values: Gates, weight: Any) -> NDArray[Any]:
    """The inverse of `_split_gates`, for a kernel with a weight's window."""
    _, rows, gates, units = values.shape
    return values.reshape(*weight.shape[:-2], rows, gates * units)
