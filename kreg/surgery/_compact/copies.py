"""Copies of layers in which nothing changes."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FunctionType
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kreg._keras_private import (
    TracedCall,
    cloned,
    flatten_layers,
    is_alike,
    trusting,
    without_values,
)
from kreg.binding.binding import own_regularizer
from kreg.surgery.stripped_copy import (
    anew,
    config_without_kreg,
    without_kreg,
)

# These layers are reused, not copied: their config lacks what they hold, and
# they have no weights.
_REUSED = (
    layers.IntegerLookup,
    layers.Lambda,
    layers.StringLookup,
    layers.TextVectorization,
)


def from_config(
    layer: keras.layers.Layer, changes: Mapping[str, Any]
) -> keras.layers.Layer:
    """A layer that is made anew from the config of `layer`, without kreg.

    Functions that its config cannot restore, such as a lambda as activation,
    are taken from the layer.

    Args:
        layer: the layer.
        changes: the entries of its config that change.
    """
    with warnings.catch_warnings(), trusting():
        # Keras warns that a lambda may not load elsewhere.
        warnings.simplefilter("ignore")
        config = changed_config(without_kreg(layer.get_config()), changes)
        try:
            return type(layer).from_config(config)
        except Exception:  # whatever a constructor raises
            functions = {
                name: getattr(layer, name)
                for name in config
                if isinstance(getattr(layer, name, None), FunctionType)
            }
            return type(layer).from_config({**config, **functions})


def changed_config(
    config: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """A config with changed entries, also in the configs inside it."""
    changed = dict(config)
    for name, value in changes.items():
        if isinstance(value, Mapping):
            value = changed_config(changed[name], value)
        changed[name] = value
    return changed


def copied_by_config(
    layer: keras.layers.Layer,
    name: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> tuple[Any, Any] | None:
    """A copy of a layer in which nothing changes, and its outputs.

    It is made from the layer's config. None if that does not give the same
    weights.

    Args:
        layer: the layer.
        name: the name of the copy.
        args: the symbolic tensors that it is called on.
        kwargs: the keyword arguments of the call.
    """
    if isinstance(layer, _REUSED):
        return layer, layer(*args, **kwargs)
    try:
        copy = from_config(layer, {"name": name})
        outputs = copy(*args, **kwargs)
    except Exception:  # whatever a layer raises
        return None
    return (copy, outputs) if described(copy) == described(layer) else None


def tells_all(layer: keras.layers.Layer, call: TracedCall) -> bool:
    """Whether the config of a layer of one's own tells all that its code does.

    A `get_config` may forget arguments of the constructor. What is made from
    it then computes something else, perhaps for few inputs.

    Args:
        layer: the layer, or a model.
        call: a call of it.
    """

    def copy_is_alike() -> bool:
        if isinstance(layer, keras.Model):
            copy = anew(layer, config_without_kreg(layer))
        else:
            copy = from_config(layer, {})
        copy(*call.arguments.args, **call.arguments.kwargs)
        return described(copy) == described(layer) and is_alike(call, copy)

    with suppress(Exception), without_values():
        return copy_is_alike()
    with suppress(Exception):  # whatever a layer raises
        return copy_is_alike()
    return False


def copied_attributes(layer: keras.layers.Layer, name: str) -> Any:
    """A copy of a layer by its attributes, for one that has no good config.

    What cannot be copied and has no weights is returned itself.

    Args:
        layer: the layer.
        name: the name of the copy.
    """
    try:
        copy = cloned(layer)
        copy.name = name
        for variable in copy.variables:
            variable.regularizer = own_regularizer(variable)
    except Exception:  # and so may be the attributes
        if layer.weights:
            raise
        return layer
    return copy


def described(layer: keras.layers.Layer) -> list[tuple[tuple[int, ...], str]]:
    """The shape and the type of each weight of a layer."""
    return [(tuple(v.shape), v.dtype) for v in layer.weights]


def freeze_alike(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Freeze in a copy what is frozen inside a layer; few configs tell it."""
    parts, copies = flatten_layers(old), flatten_layers(new)
    if len(parts) == len(copies):
        for part, copy in zip(parts, copies, strict=True):
            if not part.trainable:
                copy.trainable = False
    for variable, copied in zip(old.weights, new.weights, strict=False):
        if not variable.trainable:
            copied.trainable = False


def copy_values(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Set the weights of a copy."""
    for variable, copy in zip(old.weights, new.weights, strict=True):
        # A copy, because a step on JAX may reuse the memory of the array.
        copy.assign(np.array(ops.convert_to_numpy(variable)))
    freeze_alike(old, new)
    for part in flatten_layers(new):
        if isinstance(part, layers.Normalization) and part.built:
            part.finalize_state()
