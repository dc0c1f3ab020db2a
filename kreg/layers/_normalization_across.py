"""Normalizations that take a statistic over several channels."""

import numpy as np
from keras import ops

from kreg._keras_private import carries_mask
from kreg.layers._normalization_as_operations import Formula, as_operations
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    kept_whole,
)
from kreg.layers.channels.network import Kept, Network, Signal


def rms_normalization_channels(call: Call, network: Network) -> Traced:
    """An `RMSNormalization`, whose mean square is over all channels.

    If `n` of `d` channels stay, and the squares of the constants that go have
    the sum `s`, the outputs are the same with `epsilon * d / n + s / n` in the
    place of `epsilon`, and `scale * sqrt(d / n)` in the place of `scale`.
    """
    layer = call.operation
    (axis, *others) = layer.axis
    signal = None if others else along_axis(call, axis)
    if signal is None:
        return kept_whole(call, network)
    scale, constants = array(layer.scale), signal.constants
    if _has_others_than_zeros(call):
        formula = Formula(
            layer,
            lambda squares: ops.rsqrt(squares / len(scale) + layer.epsilon),
            is_centered=False,
            subtracts=False,
            scale=scale,
            shift=None,
            names=("scale", ""),
        )
        return as_operations(formula, signal, network)
    network.pin(
        signal.channels[np.isnan(constants)],
        f"`{call.path}` takes the mean square over it",
    )
    square = (constants**2).mean()  # NaN if any channel varies
    normalized = constants / np.sqrt(square + layer.epsilon) * scale
    normalized[(constants == 0) | (scale == 0)] = 0.0
    network.note_obstacle(
        signal.channels[~np.isnan(constants) & np.isnan(normalized)],
        f"`{call.path}` divides it by a value that varies",
    )

    def reduce(kept: Kept) -> Reduction:
        stay = kept(signal.channels)
        ratio = len(stay) / stay.sum()
        removed = np.where(stay, 0.0, np.nan_to_num(constants))
        epsilon = (layer.epsilon + (removed**2).mean()) * ratio
        return Reduction(
            {"epsilon": float(epsilon)}, {"scale": scale[stay] * np.sqrt(ratio)}
        )

    return Traced((signal.with_constants(normalized),), reduce)


def unit_normalization_channels(call: Call, network: Network) -> Traced:
    """A `UnitNormalization`, in which channels that are 0 do not count."""
    axes = np.atleast_1d(call.operation.axis).tolist()
    signal = along_axis(call, axes[0]) if len(axes) == 1 else None
    if signal is None:
        return kept_whole(call, network)
    if _has_others_than_zeros(call):
        formula = Formula(
            call.operation,
            lambda squares: ops.minimum(ops.rsqrt(squares), 1e12),
            is_centered=False,
            subtracts=False,
            scale=None,
            shift=None,
        )
        return as_operations(formula, signal, network)
    zero = signal.constants == 0
    network.pin(signal.channels[~zero], f"`{call.path}` takes the norm over it")
    return Traced((signal.with_constants(np.where(zero, 0.0, np.nan)),))


def group_normalization_channels(call: Call, network: Network) -> Traced:
    """A `GroupNormalization`, whose groups go as a whole."""
    layer = call.operation
    signal = along_axis(call, layer.axis)
    if signal is None:
        return kept_whole(call, network)
    channels = signal.channels.reshape(layer.groups, -1)
    values = signal.constants.reshape(channels.shape)
    for other in channels.T[1:]:
        network.tie(channels[:, 0], other)
    weights = {}
    deviation = np.sqrt(values.var(axis=1, keepdims=True) + layer.epsilon)
    centered = values - values.mean(axis=1, keepdims=True)
    constants = (centered / deviation).reshape(-1)
    if layer.scale:
        gamma = weights["gamma"] = array(layer.gamma)
        constants = np.where(gamma == 0, 0.0, constants * gamma)
    if layer.center:
        beta = weights["beta"] = array(layer.beta)
        constants = constants + beta
    network.note_obstacle(
        signal.channels[~np.isnan(signal.constants) & np.isnan(constants)],
        f"`{call.path}` normalizes it together with values that vary",
    )

    def reduce(kept: Kept) -> Reduction:
        stay = kept(signal.channels)
        groups = int(kept(channels[:, 0]).sum())
        return Reduction(
            {"groups": groups}, {name: w[stay] for name, w in weights.items()}
        )

    return Traced((signal.with_constants(constants),), reduce)


def layer_normalization_channels(call: Call, network: Network) -> Traced:
    """A `LayerNormalization`, whose mean is over all channels."""
    layer = call.operation
    signal = _last_axis(call)
    if signal is None or np.isnan(signal.constants).all():
        return kept_whole(call, network, "takes a mean over all channels")
    if not call.norms_as_operations:
        return kept_whole(
            call,
            network,
            "takes a mean over all channels, also constant ones; these could "
            "go with `norms_as_operations=True`, and those that are 0 with "
            "`RMSNormalization`",
        )
    if carries_mask(call.node.input_tensors[0]):
        return kept_whole(
            call, network, "passes on a mask, which operations would lose"
        )
    count, epsilon = len(signal.channels), layer.epsilon
    formula = Formula(
        layer,
        lambda squares: ops.rsqrt(squares / count + epsilon),
        is_centered=True,
        subtracts=not layer.rms_scaling,
        scale=None if layer.gamma is None else array(layer.gamma),
        shift=None if layer.beta is None else array(layer.beta),
    )
    return as_operations(formula, signal, network)


def _last_axis(call: Call) -> Signal | None:
    """The channels of a normalization over the last axis alone."""
    axes = np.atleast_1d(call.operation.axis).tolist()
    rank = len(call.node.input_tensors[0].shape)
    if [axis % rank for axis in axes] != [rank - 1]:
        return None
    return along_axis(call, -1)


def _has_others_than_zeros(call: Call) -> bool:
    """Whether constant channels other than 0 can go on request."""
    signal = _last_axis(call)
    return (
        call.norms_as_operations
        and signal is not None
        and not carries_mask(call.node.input_tensors[0])
        and bool(np.any(np.nan_to_num(signal.constants)))
    )
