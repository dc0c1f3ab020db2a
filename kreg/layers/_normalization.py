"""Normalization layers, which scale and shift each channel."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kreg.foreign_objects import attribute_or_none
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    along_axis,
    array,
    kept_whole,
)
from kreg.layers.channels.network import Kept, Network
from kreg.regularizers.grouping import UnitsAndInputs, each_alone


def normalization_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    return each_alone(shape) if name in ("gamma", "beta", "scale") else None


def undoes_scale(layer: keras.layers.Layer) -> bool:
    """Whether a BatchNormalization cancels the scale of its inputs.

    It does not if it is frozen or renormalizes: then it uses averages of past
    batches, which follow a change of scale slowly.
    """
    return bool(
        attribute_or_none(layer, "trainable")
    ) and not attribute_or_none(layer, "renorm")


def batch_normalization_channels(call: Call, network: Network) -> Traced:
    """A BatchNormalization, which scales and shifts each channel."""
    layer = call.operation
    signal = along_axis(call, layer.axis)
    if signal is None:
        return kept_whole(call, network)
    weights = {
        "moving_mean": array(layer.moving_mean),
        "moving_variance": array(layer.moving_variance),
    }
    gamma = beta = None
    if layer.scale:
        gamma = weights["gamma"] = array(layer.gamma)
    if layer.center:
        beta = weights["beta"] = array(layer.beta)
    if call.training:
        constants = np.full(len(signal.channels), np.nan)
    else:
        deviation = np.sqrt(weights["moving_variance"] + layer.epsilon)
        constants = (signal.constants - weights["moving_mean"]) / deviation
        if gamma is not None:
            constants = np.where(gamma == 0, 0.0, constants * gamma)
        if beta is not None:
            constants = constants + beta

    return Traced(
        (signal.with_constants(constants),), _slicer(signal.channels, weights)
    )


def feature_normalization_channels(call: Call, network: Network) -> Traced:
    """A `Normalization` of features by their means and variances."""
    layer = call.operation
    axes = layer.axis
    signal = along_axis(call, -1)
    rank = len(call.node.input_tensors[0].shape)
    if signal is None or [a % rank for a in axes] != [rank - 1]:
        return kept_whole(call, network)
    adapted = layer.get_config()["mean"] is None
    mean, variance = array(layer.mean).ravel(), array(layer.variance).ravel()

    def reduce(kept: Kept) -> Reduction:
        stay = kept(signal.channels)
        if adapted:
            return Reduction(
                {}, {"adapt_mean": mean[stay], "adapt_variance": variance[stay]}
            )
        sliced = {
            "mean": mean[stay].tolist(),
            "variance": variance[stay].tolist(),
        }
        return Reduction(sliced, {})

    return Traced((signal.varying(),), reduce)


def _slicer(
    channels: Any, weights: Mapping[str, Any]
) -> Callable[[Kept], Reduction]:
    """A function that slices weights to the entries of kept channels."""

    def reduce(kept: Kept) -> Reduction:
        stay = kept(channels)
        return Reduction({}, {name: w[stay] for name, w in weights.items()})

    return reduce
