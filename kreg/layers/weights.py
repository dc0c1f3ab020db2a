"""The weights of a layer: units, inputs, and the regularizer attributes."""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import keras

from kreg._keras_private import flatten_layers, own_trainable_variables
from kreg.foreign_objects import attribute_or_none
from kreg.layers.table import axes_of
from kreg.regularizers.grouping import Layout


def owners_of(
    model: keras.Model,
    own: Callable[
        [keras.layers.Layer], Sequence[keras.Variable]
    ] = own_trainable_variables,
) -> dict[int, tuple[keras.Variable, keras.layers.Layer]]:
    """The layer that made each weight of `model`, in the order of the layers.

    Other layers may hold it, too, such as a wrapper around that layer. The path
    of a weight names the layer that made it.

    Args:
        model: the model.
        own: function that returns the weights that a layer holds itself.
            Defaults to those that can be trained.

    Returns:
        The weights and their layers, by the `id` of the variable.
    """
    owners: dict[int, tuple[keras.Variable, keras.layers.Layer]] = {}
    for layer in flatten_layers(model):
        for variable in own(layer):
            is_maker = variable.path.rpartition("/")[0] == path_of(layer)
            if is_maker or id(variable) not in owners:
                owners[id(variable)] = variable, layer
    return owners


def path_of(layer: keras.layers.Layer) -> str:
    """The path of `layer`, or its name if it has no path."""
    return str(getattr(layer, "path", None) or layer.name)


def layouts_of(model: keras.Model) -> dict[int, Layout]:
    """The layout of each weight of `model`, by the `id` of its variable."""
    return {
        key: layout_of(layer, variable)
        for key, (variable, layer) in owners_of(model).items()
    }


def layout_of(layer: keras.layers.Layer, variable: keras.Variable) -> Layout:
    """The layout of a weight in the layer that owns it.

    Args:
        layer: the layer.
        variable: one of its own variables.

    Returns:
        A layout. Its units and inputs are None if the kind of the layer is not
        in the table, or if the weight has none.
    """
    owner = type(layer).__name__
    axes = axes_of(layer)
    if axes is None:
        return Layout(owner)
    units_and_inputs = axes(layer, variable.name, tuple(variable.shape))
    return Layout(owner, *(units_and_inputs or ()))


def attribute_of(layer: keras.layers.Layer, name: str) -> str | None:
    """The attribute that Keras saves as the regularizer of a weight.

    Args:
        layer: the layer that made the weight.
        name: the name of the weight.

    Returns:
        The name of the attribute. None if the layer builds its weights itself,
        or if its constructor has no such argument.
    """
    if not is_built_by_keras(layer):
        return None
    cls: Any = type(layer)
    arguments = _arguments(cls)
    for prefix in _prefixes(name):
        if f"{prefix}_regularizer" in arguments:
            return f"{prefix}_regularizer"
    return None


def is_built_by_keras(layer: keras.layers.Layer) -> bool:
    """Whether Keras's own code built the weights of a layer.

    It did not for a subclass with its own `build`, nor for weights that LoRA or
    quantization has changed.
    """
    module = attribute_or_none(type(layer).build, "__module__") or ""
    return (
        module.split(".")[0] == "keras"
        and not attribute_or_none(layer, "lora_enabled")
        and not attribute_or_none(layer, "quantization_mode")
    )


def _prefixes(name: str) -> Sequence[str]:
    """The prefixes that the regularizer of a weight may have.

    `depthwise_kernel` is regularized by `depthwise_regularizer`.
    """
    if name == "kernel":
        # In a depthwise convolution `kernel` is the depthwise kernel.
        return ("kernel", "depthwise")
    return (name.removesuffix("_kernel"),)


@lru_cache(maxsize=256)
def _arguments(cls: Any) -> frozenset[str]:
    """The constructor's arguments of a class and of its bases in Keras."""
    return frozenset(
        name
        for base in cls.__mro__
        if base.__module__.split(".")[0] == "keras" and "__init__" in vars(base)
        for name in inspect.signature(vars(base)["__init__"]).parameters
    )
