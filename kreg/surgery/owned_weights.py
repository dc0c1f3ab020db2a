"""Weights that can have a regularizer, and the attributes that save it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from kreg._keras_private import (
    flatten_layers,
    own_layers,
)
from kreg.binding.binding import own_regularizer
from kreg.binding.ties import tie_part
from kreg.layers.weights import (
    attribute_of,
    is_built_by_keras,
    owners_of,
    path_of,
)
from kreg.statistics.rows import distinct_paths
from kreg.surgery.stripped_copy import config_of


@dataclass(frozen=True)
class OwnedWeight:
    """A weight and the layer that made it.

    Args:
        variable: the weight, frozen or not.
        layer: the layer, such as the cell of an `LSTM`.
        path: the path of the weight, made distinct within the model.
    """

    variable: keras.Variable
    layer: keras.layers.Layer
    path: str

    @property
    def layer_path(self) -> str:
        """The path of the layer."""
        return path_of(self.layer)

    @property
    def is_kernel(self) -> bool:
        """Whether the weight is a kernel, by its name."""
        return str(self.variable.name).endswith("kernel")


def owned_weights(model: keras.Model) -> list[OwnedWeight]:
    """The weights of `model` that training can change, in the model's order.

    Frozen weights are among them; the statistics of normalizations are not.
    """
    owners = owners_of(model)
    weights = model.weights
    return [
        OwnedWeight(variable, owners[id(variable)][1], path)
        for variable, path in zip(weights, distinct_paths(weights), strict=True)
        if id(variable) in owners
    ]


# These layers save one regularizer and give it to all layers that they make.
_ATTENTION = {
    layers.MultiHeadAttention: "_{}_regularizer",
    layers.GroupQueryAttention: "{}_regularizer",
}


def attribute_for(weight: OwnedWeight) -> str | None:
    """The attribute in which its layer saves the weight's regularizer, or None.

    For a custom layer it is `<name>_regularizer`, if the config has this key.
    """
    layer, name = weight.layer, str(weight.variable.name)
    if is_built_by_keras(layer):
        return attribute_of(layer, name)
    attribute = f"{name.removesuffix('_kernel')}_regularizer"
    is_saved = hasattr(layer, attribute) and attribute in config_of(layer)
    return attribute if is_saved else None


def saved_layers(model: keras.Model) -> set[int]:
    """The `id` of every layer that the config of `model` holds.

    Any other layer is made by the constructor or `build` of its outer layer,
    so its own attributes are not saved.
    """
    saved: set[int] = set()
    pending: list[keras.layers.Layer] = [model]
    while pending:
        layer = pending.pop()
        if id(layer) in saved:
            continue
        saved.add(id(layer))
        inner_layers = own_layers(layer)
        if inner_layers:
            named = set(_layer_names(config_of(layer)))
            pending += [
                inner
                for inner in inner_layers
                if inner.name in named or _saves_for(layer, inner)
            ]
    return saved


def shared_attributes(
    model: keras.Model,
) -> Iterator[tuple[keras.layers.Layer, str, list[keras.Variable]]]:
    """Find the layers that save one regularizer for several inner layers.

    Yields:
        The layer, its attribute, and the weights that it regularizes.
    """
    for layer in flatten_layers(model):
        for kind, template in _ATTENTION.items():
            if isinstance(layer, kind):
                for name in ("kernel", "bias"):
                    weights = [v for v in layer.weights if v.name == name]
                    yield layer, template.format(name), weights


def common_regularizer(weights: list[keras.Variable]) -> tuple[bool, Any]:
    """Whether all weights have one regularizer, and this one or None.

    One that is tied across weights counts as None: no attribute can hold it.
    """
    regularizers = [
        None if tie_part(variable) else own_regularizer(variable)
        for variable in weights
    ]
    is_common = all(r is regularizers[0] for r in regularizers)
    return is_common, regularizers[0] if regularizers and is_common else None


def _layer_names(config: Any) -> Iterator[str]:
    """The names of all serialized layers in a config."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if isinstance(inner, Mapping) and "name" in inner:
            yield str(inner["name"])
        for value in config.values():
            yield from _layer_names(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _layer_names(value)


def _saves_for(layer: keras.layers.Layer, inner: keras.layers.Layer) -> bool:
    """Whether `layer` saves the attributes of `inner` as its own."""
    return isinstance(layer, layers.RNN) and layer.cell is inner
