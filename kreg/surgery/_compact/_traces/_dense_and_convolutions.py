"""Dense layers and convolutions."""

from typing import Any

import numpy as np

from kreg.surgery._compact._call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    channel_axis,
    kept_whole,
    matrix,
)
from kreg.surgery._compact._network import Kept, Network
from kreg.surgery._compact._traces._mixing import Mixing, bias_of


def dense(call: Call, network: Network) -> Traced:
    """A `Dense` layer, on the last axis of tensors of any rank."""
    return _mixing(call, network, axis=-1, size="units", padded=False)


def convolution(call: Call, network: Network) -> Traced:
    """A convolution without groups: units are its filters."""
    layer = call.operation
    if layer.groups > 1:
        return kept_whole(
            call, network, "deals its channels out to groups of equal size"
        )
    axis, padded = channel_axis(layer), is_padded(layer)
    return _mixing(call, network, axis=axis, size="filters", padded=padded)


def transposed_convolution(call: Call, network: Network) -> Traced:
    """A transposed convolution, whose kernels end in (units, inputs).

    Every position sees another part of the window, as if it were padded.
    """
    axis = channel_axis(call.operation)
    return _mixing(
        call, network, axis=axis, size="filters", padded=True, transposed=True
    )


def _mixing(
    call: Call,
    network: Network,
    *,
    axis: int,
    size: str,
    padded: bool,
    transposed: bool = False,
) -> Traced:
    """A layer with a kernel and perhaps a bias.

    Args:
        call: the call of the layer.
        network: where the channels are.
        axis: where the channels lie.
        size: the argument of the layer that tells how many units it has.
        padded: whether some positions see less than the whole window.
        transposed: whether its kernel ends in (units, inputs).
    """
    layer = call.operation
    signal = along_axis(call, axis)
    if signal is None or is_altered(layer):
        return kept_whole(call, network)
    kernel = matrix(layer.kernel)
    mixing = Mixing(
        call,
        network,
        signal,
        np.swapaxes(kernel, -1, -2) if transposed else kernel,
        bias_of(layer),
        padded=padded,
        axis=axis,
    )

    def reduce(kept: Kept) -> Reduction:
        kernel, bias = mixing.reduced(kept)
        config = {size: kernel.shape[-1], "use_bias": bias is not None}
        weights = {
            "kernel": np.swapaxes(kernel, -1, -2) if transposed else kernel
        }
        if bias is not None:
            weights["bias"] = bias
        return Reduction(config, weights)

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
