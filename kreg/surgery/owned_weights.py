"""The weights of a model that can have a regularizer, and where it is saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from kreg._keras_private import (
    flatten_layers,
    own_layers,
    own_trainable_variables,
)
from kreg.binding.binding import own_regularizer
from kreg.layers.regularizer_attributes import attribute_of, is_built_by_keras
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
        """Whether the weight multiplies what enters the layer."""
        return str(self.variable.name).endswith("kernel")


def owned_weights(model: keras.Model) -> list[OwnedWeight]:
    """The weights of `model` that training can change, in the model's order.

    Frozen ones too, but not the statistics of normalizations.
    """
    owners: dict[int, keras.layers.Layer] = {}
    for layer in flatten_layers(model):
        for variable in own_trainable_variables(layer):
            # A layer may hold a weight of another, after which it is named.
            is_maker = variable.path.rpartition("/")[0] == path_of(layer)
            if is_maker or id(variable) not in owners:
                owners[id(variable)] = layer
    weights = model.weights
    return [
        OwnedWeight(variable, owners[id(variable)], path)
        for variable, path in zip(weights, distinct_paths(weights), strict=True)
        if id(variable) in owners
    ]


def path_of(layer: keras.layers.Layer) -> str:
    """The path of `layer`; its name where it has none."""
    return str(getattr(layer, "path", None) or layer.name)


# Layers that make others, all with the one regularizer that they save.
_ATTENTION = {
    layers.MultiHeadAttention: "_{}_regularizer",
    layers.GroupQueryAttention: "{}_regularizer",
}


def attribute_for(weight: OwnedWeight) -> str | None:
    """The attribute that its layer saves as the weight's regularizer.

    In a layer that is not Keras's, `<name>_regularizer` if its config has it.
    """
    layer, name = weight.layer, str(weight.variable.name)
    if is_built_by_keras(layer):
        return attribute_of(layer, name)
    attribute = f"{name.removesuffix('_kernel')}_regularizer"
    is_saved = hasattr(layer, attribute) and attribute in config_of(layer)
    return attribute if is_saved else None


def saved_layers(model: keras.Model) -> set[int]:
    """The `id` of every layer that the config of `model` holds.

    Other layers are made anew by the constructor or `build` of the layer that
    holds them.
    """
    saved: set[int] = set()
    pending: list[keras.layers.Layer] = [model]
    while pending:
        layer = pending.pop()
        if id(layer) in saved:
            continue
        saved.add(id(layer))
        held = own_layers(layer)
        if held:
            named = set(_layer_names(config_of(layer)))
            pending += [
                inner
                for inner in held
                if inner.name in named or _saves_for(layer, inner)
            ]
    return saved


def shared_attributes(
    model: keras.Model,
) -> Iterator[tuple[keras.layers.Layer, str, list[keras.Variable]]]:
    """Layers that save one regularizer for weights of several inner layers.

    Yields:
        The layer, its attribute, and the weights that get it on loading.
    """
    for layer in flatten_layers(model):
        for kind, template in _ATTENTION.items():
            if isinstance(layer, kind):
                for name in ("kernel", "bias"):
                    weights = [v for v in layer.weights if v.name == name]
                    yield layer, template.format(name), weights


def common_regularizer(weights: list[keras.Variable]) -> tuple[bool, Any]:
    """Whether all weights have the same regularizer, and which."""
    regularizers = [own_regularizer(variable) for variable in weights]
    same = all(r is regularizers[0] for r in regularizers)
    return same, regularizers[0] if regularizers and same else None


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
