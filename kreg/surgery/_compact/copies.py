"""Copying layers in which nothing changes."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any

import keras
from keras import layers

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
    copy_weights,
    weight_specs,
    without_kreg,
)

# Layers that are reused, not copied: their config lacks some of what they hold,
# and they have no weights.
_REUSED = (
    layers.IntegerLookup,
    layers.Lambda,
    layers.StringLookup,
    layers.TextVectorization,
)


def from_config(
    layer: keras.layers.Layer, changes: Mapping[str, Any]
) -> keras.layers.Layer:
    """Make a layer anew from the config of `layer`, without kreg.

    Functions that the config cannot restore are taken from the layer, such as
    a lambda as activation.

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
    """A config with changed entries, also in the configs that it holds."""
    changed = dict(config)
    for name, value in changes.items():
        if isinstance(value, Mapping):
            value = changed_config(changed[name], value)
        changed[name] = value
    return changed


def copied_by_config(
    layer: keras.layers.Layer,
    name: str,
    outputs_of: Callable[[keras.layers.Layer], Any],
) -> tuple[Any, Any] | None:
    """A copy of a layer by its config, and the outputs of the copy.

    None if the config does not give weights of the same shapes.

    Args:
        layer: the layer.
        name: the name of the copy.
        outputs_of: a function that calls it on symbolic tensors.
    """
    if isinstance(layer, _REUSED):
        return layer, outputs_of(layer)
    try:
        copy = from_config(layer, {"name": name})
        outputs = outputs_of(copy)
    except Exception:  # whatever a layer raises
        return None
    return (
        (copy, outputs) if weight_specs(copy) == weight_specs(layer) else None
    )


def tells_all(layer: keras.layers.Layer, call: TracedCall) -> bool:
    """Whether the config of a custom layer tells all that its code does.

    A `get_config` may forget arguments of the constructor. A layer that is made
    from it then computes something else, if only for few inputs.

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
        return weight_specs(copy) == weight_specs(layer) and is_alike(
            call, copy
        )

    # Weights without values are made quickly, but not by all layers.
    with suppress(Exception), without_values():
        return copy_is_alike()
    with suppress(Exception):  # whatever a layer raises
        return copy_is_alike()
    return False


def copied_attributes(layer: keras.layers.Layer, name: str) -> Any:
    """A copy of a layer by its attributes, for a layer without a good config.

    A layer that cannot be copied and has no weights is returned itself.

    Args:
        layer: the layer.
        name: the name of the copy.
    """
    try:
        copy = cloned(layer)
        copy.name = name
        for variable in copy.variables:
            variable.regularizer = own_regularizer(variable)
    except Exception:  # an attribute may have no copy
        if layer.weights:
            raise
        return layer
    return copy


def freeze_alike(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Freeze in a copy what is frozen in a layer. Few configs tell that."""
    parts, copies = flatten_layers(old), flatten_layers(new)
    if len(parts) == len(copies):
        for part, copy in zip(parts, copies, strict=True):
            if not part.trainable:
                copy.trainable = False
    for variable, copied in zip(old.weights, new.weights, strict=False):
        if not variable.trainable:
            copied.trainable = False


def copy_values(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Set the weights of a copy, and freeze what is frozen in the layer."""
    copy_weights(old, new)
    freeze_alike(old, new)
    for part in flatten_layers(new):
        if isinstance(part, layers.Normalization) and part.built:
            part.finalize_state()
