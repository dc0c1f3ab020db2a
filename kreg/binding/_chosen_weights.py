"""Naming weights of a model, by variables or by layers."""

from collections.abc import Iterable
from typing import TypeAlias

import keras

Weights: TypeAlias = Iterable[keras.Variable | keras.layers.Layer]


def chosen_variables(
    model: keras.Model, weights: Weights
) -> list[keras.Variable]:
    """The variables of `model` that `weights` names, in the model's order.

    Args:
        model: the model.
        weights: variables and layers of it, a layer standing for all its
            weights that can be trained.

    Raises:
        TypeError: if an entry is neither a variable nor a layer, or `weights`
            is no iterable.
        ValueError: if an entry is not in the model.
    """
    if isinstance(weights, (str, keras.Variable, keras.layers.Layer)):
        weights = [weights]
    known = {id(variable) for variable in model.weights}
    chosen: set[int] = set()
    for entry in weights:
        if isinstance(entry, keras.layers.Layer):
            own = [id(v) for v in entry.trainable_weights]
        elif isinstance(entry, keras.Variable):
            own = [id(entry)]
        else:
            raise TypeError(
                "`weights` must hold variables and layers of the model. "
                f"Received: weights with {entry!r} "
                f"(of type {type(entry).__name__})"
            )
        if not known.issuperset(own):
            raise ValueError(
                "`weights` must hold variables and layers of the model "
                f"`{model.name}`. Received: weights with {entry!r}, which is "
                "not in it"
            )
        chosen.update(own)
    return [v for v in model.weights if id(v) in chosen]
