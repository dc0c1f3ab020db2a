"""Recurrent layers and their cells.

The state of a layer starts at 0. So the only units that are constant over a
whole sequence are those that stay at 0.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from kreg.layers.channels.activations import applied_to_constants
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    kept_whole,
    matrix,
)
from kreg.layers.channels.network import Kept, Network, WeightedSum
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


def recurrent_channels(call: Call, network: Network) -> Traced:
    """An `LSTM`, a `GRU` or a `SimpleRNN` that does not return its state."""
    layer = call.operation
    signal = along_axis(call, -1)
    if signal is None or layer.stateful or layer.return_state:
        return kept_whole(call, network)
    cell = layer.cell
    gates = _GATES[type(layer)]
    kernel = _split_gates(matrix(cell.kernel), gates)
    recurrent = _split_gates(matrix(cell.recurrent_kernel), gates)
    bias = _split_gates(array(cell.bias), gates) if cell.use_bias else None
    rank = 3 if layer.return_sequences else 2
    units = network.new(layer.units, rank - 1)
    network.units[call.path] = units.channels
    zero = _stays_at_zero(layer, signal.constants, kernel, recurrent, bias)
    constants = np.where(zero, 0.0, np.nan)
    for inputs, weights, values, folds in (
        (signal.channels, kernel, signal.constants, True),
        (units.channels, recurrent, constants, False),
    ):
        network.sums.append(
            WeightedSum(
                call.path,
                inputs,
                units.channels,
                (weights != 0).any(axis=1),
                values,
                folds=folds,
                merges=False,
            )
        )

    def reduce(kept: Kept) -> Reduction:
        inputs, stay = kept(signal.channels), kept(units.channels)
        removed = np.where(inputs, 0.0, np.nan_to_num(signal.constants))
        shift = np.einsum("i,igu->gu", removed, kernel)[..., stay]
        folded = None if bias is None else bias[..., stay].copy()
        if folded is None and shift.any():
            parts = 2 if getattr(cell, "reset_after", False) else 1
            folded = np.zeros((parts, *shift.shape))
        if folded is not None:
            folded[0] += shift
        return _reduction(
            cell, kernel[inputs][..., stay], recurrent[stay][..., stay], folded
        )

    return Traced((units.with_constants(constants),), reduce)


_GATES: dict[type, int] = {layers.LSTM: 4, layers.GRU: 3, layers.SimpleRNN: 1}


def _split_gates(values: NDArray[Any], gates: int) -> Gates:
    """Reshape to (rows, gates, units); each part of a bias is a row."""
    rows = 1 if values.ndim == 1 else values.shape[0]
    return values.reshape(rows, gates, -1)


def _stays_at_zero(
    layer: Any,
    constants: NDArray[np.float64],
    kernel: Gates,
    recurrent: Gates,
    bias: Gates | None,
) -> NDArray[np.bool_]:
    """Which units are 0 in every step, for all inputs.

    These are the units whose candidate is 0, because the other gates only scale
    the candidate and the state.
    """
    gate = {layers.LSTM: 2, layers.GRU: 2, layers.SimpleRNN: 0}[type(layer)]
    at_zero = applied_to_constants(layer.activation, np.zeros(1), "float32")
    if at_zero[0] != 0:
        return np.zeros(recurrent.shape[-1], bool)
    varies = np.isnan(constants)
    from_inputs = kernel[:, gate, :]
    value = np.where(varies, 0.0, constants) @ from_inputs
    silent = ~(from_inputs[varies] != 0).any(axis=0)
    parts = [value]
    if bias is not None:
        parts = [value + bias[0, gate], *bias[1:, gate]]
    zero = silent & np.all([p == 0 for p in parts], axis=0)
    # A unit stays at 0 only if all units that it reads do.
    reads = recurrent[:, gate, :] != 0
    while True:
        reads_others = reads[~zero].any(axis=0)
        if not (zero & reads_others).any():
            return zero
        zero = zero & ~reads_others


def _reduction(
    cell: Any, kernel: Gates, recurrent: Gates, bias: Gates | None
) -> Reduction:
    weights = {
        "cell.kernel": kernel.reshape(len(kernel), -1),
        "cell.recurrent_kernel": recurrent.reshape(len(recurrent), -1),
    }
    if bias is not None:
        flat = bias.reshape(len(bias), -1)
        split = getattr(cell, "reset_after", False)
        weights["cell.bias"] = flat if split else flat[0]
    return Reduction(
        {"units": kernel.shape[-1], "use_bias": bias is not None}, weights
    )
