"""Normalizations as operations that know the sums of constant channels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg.layers.channels.call import Reduction, Traced
from kreg.layers.channels.network import Kept, Network, Signal, Values


@dataclass(frozen=True)
class Formula:
    """The formula of a normalization over the last axis.

    The outputs are `x * inverse(s) * scale + shift`, where `s` is the sum of
    the squares of the channels `x`, around their mean or around 0.

    Args:
        layer: the layer.
        inverse: function of the sum of squares over all channels.
        is_centered: whether squares are taken around the mean.
        subtracts: whether the mean is subtracted from `x`.
        scale: a factor for each channel; None if there is none.
        shift: what is added to each channel; None if nothing is.
        regularized: the names that the layer gives to scale and shift.
    """

    layer: Any
    inverse: Callable[[Any], Any]
    is_centered: bool
    subtracts: bool
    scale: NDArray[np.float64] | None
    shift: NDArray[np.float64] | None
    names: tuple[str, str] = ("gamma", "beta")


def as_operations(formula: Formula, signal: Signal, network: Network) -> Traced:
    """A normalization of channels, some of which are constant.

    A constant channel can go, because its part of the sums is known. Its output
    still depends on the channels that vary. If a layer reads this output, it is
    computed from the constant.

    Args:
        formula: the formula of the normalization.
        signal: the channels, along the last axis.
        network: the channels of the model.
    """
    constants = signal.constants
    varies = np.isnan(constants)
    outputs = network.new(len(constants), signal.axis)
    reason = f"`{formula.layer.name}` takes a sum of squares over it"
    network.pin(signal.channels[varies], reason)
    network.pin(outputs.channels[varies], reason)

    def reduce(kept: Kept) -> Reduction:
        stay, made = kept(signal.channels), kept(outputs.channels)
        if stay.all() and made.all():
            return Reduction({}, {})
        weights = {}
        for name, values in zip(
            formula.names, _scale_and_shift(formula, made), strict=True
        ):
            if values is not None:
                weights[name] = values
        return Reduction(
            {},
            weights,
            lambda name, x: _model(formula, constants, stay, made, name, x),
        )

    return Traced(
        (outputs.with_constants(_constant_outputs(formula, constants)),), reduce
    )


def _constant_outputs(formula: Formula, constants: Values) -> Values:
    """The outputs that are constant, NaN for the others."""
    mean = constants.mean() if formula.is_centered else 0.0
    squares = np.square(constants - mean).sum()  # NaN if any channel varies
    values = constants - mean if formula.subtracts else constants
    inverse = np.nan
    if not np.isnan(squares):
        inverse = ops.convert_to_numpy(formula.inverse(squares))
    values = np.where(values == 0, 0.0, values * inverse)
    if formula.scale is not None:
        values = np.where(formula.scale == 0, 0.0, values * formula.scale)
    return values if formula.shift is None else values + formula.shift


def _scale_and_shift(
    formula: Formula, made: NDArray[np.bool_]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """The scale and the shift of the outputs that are made.

    A shift comes with a scale, because the layer that adds it has a kernel.
    """
    scale, shift = formula.scale, formula.shift
    if scale is None and shift is not None:
        scale = np.ones(len(shift))
    return (
        None if scale is None else scale[made],
        None if shift is None else shift[made],
    )


def _model(
    formula: Formula,
    constants: Values,
    stay: NDArray[np.bool_],
    made: NDArray[np.bool_],
    name: str,
    x: Any,
) -> keras.Model:
    """A model that takes the place of the normalization.

    Args:
        formula: the formula of the normalization.
        constants: the value of each channel, NaN if it varies.
        stay: which channels the input has.
        made: which channels the output has.
        name: the name of the model.
        x: the symbolic input.
    """
    layer, removed = formula.layer, constants[~stay]
    dtype = keras.backend.result_type(x.dtype, "float32")
    inputs = keras.Input(batch_shape=x.shape, dtype=x.dtype)
    x = ops.cast(inputs, dtype)
    mean, squares = _statistics(x, removed, formula.is_centered)
    x = _arranged(x, constants, stay, made)
    x = (x - mean if formula.subtracts else x) * formula.inverse(squares)
    scale, shift = _scale_and_shift(formula, made)
    if scale is not None:
        # Keras mixes up the sizes of more than two axes in an ellipsis.
        letters = "abcdefghijklmnopqrstuvwxyz"[: len(x.shape)]
        scaling = keras.layers.EinsumDense(
            f"{letters},{letters[-1]}->{letters}",
            (*x.shape[1:-1], len(scale)),
            bias_axes=None if shift is None else letters[-1],
            dtype=dtype,
            name=f"{name}_scale",
            **_settings(layer, formula.names),
        )
        x = scaling(x)
        scaling.set_weights([scale] if shift is None else [scale, shift])
    model = keras.Model(inputs, ops.cast(x, layer.compute_dtype), name=name)
    if not layer.trainable:
        model.trainable = False
    return model


def _statistics(x: Any, removed: Values, is_centered: bool) -> tuple[Any, Any]:
    """The mean of all channels, and the sum of their squares around it.

    Args:
        x: the channels that are left.
        removed: the values of the channels that went.
        is_centered: whether there is a mean. If not, it is 0.
    """

    def total(y: Any) -> Any:
        return ops.sum(y, axis=-1, keepdims=True)

    if not is_centered:
        return 0.0, total(ops.square(x)) + float(np.square(removed).sum())
    count = x.shape[-1] + len(removed)
    mean = (total(x) + float(removed.sum())) / count
    squares = total(ops.square(x - mean))
    if len(removed):
        # Squares around the mean of the constants avoid cancellation, too.
        center = float(removed.mean())
        squares += len(removed) * ops.square(mean - center)
        squares += float(np.square(removed - center).sum())
    return mean, squares


def _arranged(
    x: Any,
    constants: Values,
    stay: NDArray[np.bool_],
    made: NDArray[np.bool_],
) -> Any:
    """The channels from which outputs are made, constants among them."""
    if (stay == made).all():
        return x
    missing = made & ~stay
    places = np.where(stay, np.cumsum(stay) - 1, stay.sum())[made]
    if missing.any():
        x = ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, 1]])
    x = ops.take(x, places.tolist(), axis=-1)
    added = np.where(missing, constants, 0.0)[made]
    return x + added.astype(x.dtype) if added.any() else x


def _settings(layer: Any, names: tuple[str, str]) -> dict[str, Any]:
    """Penalties and constraints of the scale and the shift."""
    return {
        f"{new}_{kind}": getattr(layer, f"{name}_{kind}", None)
        for name, new in zip(names, ("kernel", "bias"), strict=True)
        for kind in ("regularizer", "constraint")
    }
