"""Dense layers and convolutions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.surgery._compact._call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    channel_axis,
    kept_whole,
    matrix,
)
from kreg.surgery._compact._network import Kept, Network
from kreg.surgery._compact._traces._mixing import Mixing, bias_of


def dense(call: Call, network: Network) -> Traced:
    """A `Dense` layer, on the last axis of tensors of any rank."""
    layer = call.operation
    signal = along_axis(call, -1)
    if signal is None or is_altered(layer):
        return kept_whole(call, network)
    mixing = Mixing(
        call,
        network,
        signal,
        matrix(layer.kernel),
        bias_of(layer, array),
        padded=False,
        axis=-1,
    )

    def reduce(kept: Kept) -> Reduction:
        kernel, bias = mixing.reduced(kept)
        return _reduction("units", {"kernel": kernel}, bias)

    return Traced((mixing.units,), reduce)


def convolution(call: Call, network: Network) -> Traced:
    """A convolution without groups: units are its filters."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if signal is None or is_altered(layer):
        return kept_whole(call, network)
    if layer.groups > 1:
        return kept_whole(
            call, network, "deals its channels out to groups of equal size"
        )
    mixing = Mixing(
        call,
        network,
        signal,
        matrix(layer.kernel),
        bias_of(layer, array),
        padded=is_padded(layer),
        axis=signal.axis,
    )

    def reduce(kept: Kept) -> Reduction:
        kernel, bias = mixing.reduced(kept)
        return _reduction("filters", {"kernel": kernel}, bias)

    return Traced((mixing.units,), reduce)


def transposed_convolution(call: Call, network: Network) -> Traced:
    """A transposed convolution, whose kernels end in (units, inputs)."""
    layer = call.operation
    signal = along_axis(call, channel_axis(layer))
    if signal is None or is_altered(layer):
        return kept_whole(call, network)
    mixing = Mixing(
        call,
        network,
        signal,
        np.swapaxes(matrix(layer.kernel), -1, -2),
        bias_of(layer, array),
        # Every position sees another part of the window.
        padded=True,
        axis=signal.axis,
    )

    def reduce(kept: Kept) -> Reduction:
        kernel, bias = mixing.reduced(kept)
        kernel = np.swapaxes(kernel, -1, -2)
        filters = {"filters": kernel.shape[-2]}
        return _reduction(filters, {"kernel": kernel}, bias)

    return Traced((mixing.units,), reduce)


def is_padded(layer: Any) -> bool:
    """Whether a window may reach over the border of what it is moved over."""
    return layer.padding != "valid" and any(s > 1 for s in layer.kernel_size)


def is_altered(layer: Any) -> bool:
    """Whether LoRA or quantization changed what a layer computes."""
    return bool(
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None)
    )


def _reduction(
    units: str | dict[str, int],
    weights: dict[str, NDArray[Any]],
    bias: NDArray[Any] | None,
) -> Reduction:
    if isinstance(units, str):
        units = {units: weights["kernel"].shape[-1]}
    if bias is not None:
        weights["bias"] = bias
    return Reduction({**units, "use_bias": bias is not None}, weights)
