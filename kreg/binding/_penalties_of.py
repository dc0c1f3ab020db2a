"""Finding the kreg penalties of a model."""

import keras

from kreg._keras_private import flatten_layers
from kreg.binding._bound_penalty import own_regularizer
from kreg.regularizers import Penalty


def weight_penalties(
    model: keras.Model,
) -> dict[Penalty, list[keras.Variable]]:
    """The kreg penalties on weights, each with the variables it acts on.

    In layers that are not built yet, those that their attributes hold, with no
    variables.
    """
    owners: dict[Penalty, list[keras.Variable]] = {}
    for variable in model.weights:
        regularizer = own_regularizer(variable)
        if isinstance(regularizer, Penalty):
            owners.setdefault(regularizer, []).append(variable)
    for layer in flatten_layers(model):
        if not layer.built:
            for name, value in vars(layer).items():
                if isinstance(value, Penalty) and "activity" not in name:
                    owners.setdefault(value, [])
    return owners


def activity_penalties(model: keras.Model) -> list[Penalty]:
    """The kreg penalties on the outputs of layers."""
    regularizers = (
        layer.activity_regularizer for layer in flatten_layers(model)
    )
    return [r for r in regularizers if isinstance(r, Penalty)]
