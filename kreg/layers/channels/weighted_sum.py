"""Layers with a kernel, whose units are weighted sums of channels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.layers.channels.activations import (
    applied_to_constants,
    is_elementwise,
)
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    kept_whole,
    matrix,
    note_padding,
)
from kreg.layers.channels.network import (
    Kept,
    Network,
    Signal,
    Values,
    WeightedSum,
)


def weighted_sum_layer(
    call: Call,
    network: Network,
    *,
    axis: int,
    size: str,
    padded: bool,
    transposed: bool = False,
) -> Traced:
    """The channels of a layer with a kernel and perhaps a bias.

    Args:
        call: the call of the layer.
        network: the channels of the model.
        axis: the axis of the channels.
        size: the name of the layer's argument for the number of units.
        padded: whether some positions see only a part of the window.
        transposed: whether its kernel ends in (units, inputs).
    """
    layer = call.operation
    signal = along_axis(call, axis)
    if signal is None or is_altered(layer):
        return kept_whole(call, network)
    kernel = matrix(layer.kernel)
    sums = KernelSums(
        call,
        network,
        signal,
        np.swapaxes(kernel, -1, -2) if transposed else kernel,
        bias_of(layer),
        padded=padded,
    )

    def reduce(kept: Kept) -> Reduction:
        kernel, bias = sums.reduced(kept)
        config = {size: kernel.shape[-1], "use_bias": bias is not None}
        weights = {
            "kernel": np.swapaxes(kernel, -1, -2) if transposed else kernel
        }
        if bias is not None:
            weights["bias"] = bias
        return Reduction(config, weights)

    return Traced((sums.units,), reduce)


class KernelSums:
    """The units of a call of a layer with a kernel, a bias, an activation.

    Args:
        call: the call of the layer.
        network: the channels of the model, to which the units are added.
        signal: the channels of its input. The units lie along the same axis.
        kernel: shape (*window, inputs, units).
        bias: shape (units,), or None.
        padded: whether some positions see only a part of the window.
    """

    def __init__(
        self,
        call: Call,
        network: Network,
        signal: Signal,
        kernel: NDArray[Any],
        bias: NDArray[np.float64] | None,
        *,
        padded: bool,
    ) -> None:
        window = tuple(range(kernel.ndim - 2))
        self._kernel, self._bias = kernel, bias
        self._sums = kernel.sum(axis=window, dtype=np.float64)
        self._padded = padded
        self._signal = signal
        reads = (kernel != 0).any(axis=window)
        units = network.new(kernel.shape[-1], signal.axis)
        network.units[call.path] = units.channels
        constants = self._unit_constants(reads)
        if padded:
            note_padding(call, network, signal)
        self.units = activated(call, network, units.with_constants(constants))
        network.sums.append(
            WeightedSum(
                call.path,
                signal.channels,
                units.channels,
                reads,
                signal.constants,
                folds=not padded,
                merges=padded,
            )
        )

    def reduced(
        self, kept: Kept
    ) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """The kernel and the bias of the inputs and units that are kept."""
        inputs, units = kept(self._signal.channels), kept(self.units.channels)
        constants = np.nan_to_num(self._signal.constants)
        removed = ~inputs & (constants != 0)
        kernel, bias = self._kernel, self._bias
        if removed.any() and self._padded:
            kernel = _merged(kernel, constants, removed, inputs)
        elif removed.any():
            shift = constants[removed] @ self._sums[removed]
            if bias is not None or shift[units].any():
                bias = shift if bias is None else bias + shift
        kernel = kernel[..., inputs, :][..., units]
        return kernel, None if bias is None else bias[units]

    def _unit_constants(self, reads: NDArray[np.bool_]) -> Values:
        """The units' values before the activation, NaN where they vary."""
        constants = self._signal.constants
        contributes_constant = ~np.isnan(constants)
        if self._padded:
            contributes_constant &= constants == 0
        values = np.where(contributes_constant, constants, 0.0) @ self._sums
        if self._bias is not None:
            values = values + self._bias
        return np.where(
            reads[~contributes_constant].any(axis=0), np.nan, values
        )


def activated(call: Call, network: Network, units: Signal) -> Signal:
    """The units of a layer after its activation."""
    layer = call.operation
    if is_elementwise(layer.activation):
        return units.with_constants(
            applied_to_constants(
                layer.activation, units.constants, layer.compute_dtype
            )
        )
    network.pin(
        units.channels,
        f"`{call.path}` has an activation that is not known to treat every "
        "unit by itself",
    )
    return units.varying()


def _merged(
    kernel: NDArray[Any],
    constants: Values,
    removed: NDArray[np.bool_],
    kept: NDArray[np.bool_],
) -> NDArray[Any]:
    """A kernel in which one constant input makes up for those that go."""
    size = np.where(kept, np.abs(constants), 0.0)
    carrier = int(np.argmax(size))
    if not size[carrier]:
        return kernel  # no kept unit reads an input that goes
    kernel = kernel.copy()
    ratios = constants[removed] / constants[carrier]
    kernel[..., carrier, :] += np.einsum(
        "i,...io->...o", ratios, kernel[..., removed, :]
    )
    return kernel


def bias_of(layer: Any) -> NDArray[np.float64] | None:
    """The bias of a layer, if it has one."""
    return array(layer.bias) if layer.use_bias else None


def is_altered(layer: Any) -> bool:
    """Whether LoRA or quantization changed what a layer computes."""
    return bool(
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None)
    )
