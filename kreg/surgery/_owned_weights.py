"""The weights of a model that can have a regularizer, with their layers."""

from dataclasses import dataclass

import keras

from kreg._keras_private import flatten_layers, own_trainable_variables
from kreg.statistics._paths import distinct_paths


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
            # Layers may hold weights that another made, which named them.
            made = variable.path.rpartition("/")[0] == path_of(layer)
            if made or id(variable) not in owners:
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
