"""Convolutions with groups, in which a filter reads the inputs of its group."""

import numpy as np
from numpy.typing import NDArray

from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    channel_axis,
    is_padded,
    kept_whole,
    matrix,
    note_padding,
)
from kreg.layers.channels.network import (
    EqualGroups,
    Kept,
    Network,
    Signal,
    Values,
    WeightedSum,
)
from kreg.layers.channels.weighted_sum import (
    activated,
    bias_of,
    is_altered,
)


def grouped_channels(call: Call, network: Network) -> Traced:
    """A convolution with groups, at most one for each input channel.

    A group goes with all of its inputs and units. The groups that stay keep
    equal numbers of inputs, and of units.
    """
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if signal is None or is_altered(layer):
        return kept_whole(call, network)
    sums = _GroupedSums(call, network, signal)
    return Traced((sums.units,), sums.reduction)


class _GroupedSums:
    """The units of a convolution with groups.

    Args:
        call: the call of the layer.
        network: the channels of the model, to which the units are added.
        signal: the channels of its input.
    """

    def __init__(self, call: Call, network: Network, signal: Signal) -> None:
        layer = call.operation
        self._signal = signal
        self._padded = is_padded(layer)
        self._bias = bias_of(layer)
        kernel = matrix(layer.kernel)
        self._window = kernel.shape[:-2]
        # Shape (window, inputs of a group, groups, units of a group).
        self._kernel = kernel.reshape(
            -1, kernel.shape[-2], layer.groups, kernel.shape[-1] // layer.groups
        )
        units = network.new(kernel.shape[-1], signal.axis)
        network.units[call.path] = units.channels
        self._inputs = signal.channels.reshape(layer.groups, -1)
        self._outputs = units.channels.reshape(layer.groups, -1)
        units = units.with_constants(self._unit_constants())
        self.units = activated(call, network, units)
        if self._padded:
            note_padding(call, network, signal)
        network.sums.append(
            WeightedSum(
                call.path,
                signal.channels,
                units.channels,
                self._reads(),
                signal.constants,
                folds=not self._padded,
                merges=False,
            )
        )
        network.equal_groups.append(
            EqualGroups(call.path, (self._inputs, self._outputs))
        )

    def reduction(self, kept: Kept) -> Reduction:
        """The layer with the groups, inputs and units that are kept."""
        inputs, outputs = kept(self._inputs), kept(self._outputs)
        groups = np.flatnonzero(outputs.any(axis=1))
        parts = [self._kernel[:, inputs[g], g][..., outputs[g]] for g in groups]
        kernel = np.concatenate(parts, axis=-1)
        bias = self._bias
        removed = np.where(inputs, 0.0, np.nan_to_num(self._uniform))
        shift = self._weighted(removed)
        stay = outputs.reshape(-1)
        if bias is not None or shift[stay].any():
            bias = shift if bias is None else bias + shift
        weights = {"kernel": kernel.reshape(*self._window, *kernel.shape[1:])}
        if bias is not None:
            weights["bias"] = bias[stay]
        return Reduction(
            {
                "filters": int(stay.sum()),
                "groups": len(groups),
                "use_bias": bias is not None,
            },
            weights,
        )

    @property
    def _uniform(self) -> NDArray[np.float64]:
        """The inputs' values if they fill whole windows, else NaN, by group."""
        constants = self._signal.constants
        if self._padded:
            constants = np.where(constants == 0, 0.0, np.nan)
        return constants.reshape(self._inputs.shape)

    def _unit_constants(self) -> Values:
        """The units' values before the activation, NaN where they vary."""
        varies = np.isnan(self._uniform)
        reads = (self._kernel != 0).any(axis=0)
        moved = np.einsum("gi,igu->gu", varies, reads) > 0
        values = self._weighted(np.nan_to_num(self._uniform))
        if self._bias is not None:
            values = values + self._bias
        return np.where(moved.reshape(-1), np.nan, values)

    def _weighted(self, values: NDArray[np.float64]) -> Values:
        """The weighted sums of inputs that fill whole windows with a value."""
        sums = self._kernel.sum(axis=0, dtype=np.float64)
        return np.einsum("gi,igu->gu", values, sums).reshape(-1)

    def _reads(self) -> NDArray[np.bool_]:
        """Whether a unit reads an input, for all inputs and units."""
        _, inputs, groups, units = self._kernel.shape
        reads = np.zeros((groups, inputs, groups, units), bool)
        each = np.arange(groups)
        reads[each, :, each] = np.moveaxis(
            (self._kernel != 0).any(axis=0), 1, 0
        )
        return reads.reshape(groups * inputs, groups * units)
