"""Looking up the penalties of a model, and the weights that a user names."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import keras

from kreg._arguments import list_of, shown
from kreg._keras_private import flatten_layers
from kreg.binding.binding import own_regularizer
from kreg.regularizers.grouping import Layout
from kreg.regularizers.strength_regularizer import StrengthRegularizer

Weights: TypeAlias = Iterable[keras.Variable | keras.layers.Layer]


def named_weights(
    name: str, value: Any
) -> list[keras.Variable | keras.layers.Layer]:
    """The variables and layers that a user names, in an iterable or alone."""
    expected = "an iterable of variables and layers of the model"
    kinds = (keras.Variable, keras.layers.Layer)
    entries = (
        [value]
        if isinstance(value, kinds)
        else (list_of(name, value, expected))
    )
    for entry in entries:
        if not isinstance(entry, kinds):
            raise TypeError(
                f"`{name}` must hold variables and layers of the model. "
                f"Received: {name} with {shown(entry)} "
                f"(of type {type(entry).__name__})"
            )
    return entries


def chosen_variables(
    model: keras.Model, weights: Weights
) -> list[keras.Variable]:
    """The variables of `model` that `weights` names, in the model's order.

    Args:
        model: the model.
        weights: variables and layers of the model; a layer stands for all its
            trainable weights.

    Raises:
        TypeError: if an entry is neither a variable nor a layer, or `weights`
            is not an iterable.
        ValueError: if an entry is not in the model.
    """
    in_model = {id(variable) for variable in model.weights}
    chosen: set[int] = set()
    for entry in named_weights("weights", weights):
        if isinstance(entry, keras.layers.Layer):
            ids = [id(v) for v in entry.trainable_weights]
        else:
            ids = [id(entry)]
        if not in_model.issuperset(ids):
            raise ValueError(
                "`weights` must hold variables and layers of the model "
                f"`{model.name}`. Received: weights with {entry!r}, which is "
                "not in it"
            )
        chosen.update(ids)
    return [v for v in model.weights if id(v) in chosen]


def acting_regularizer(variable: keras.Variable, layout: Layout | None) -> Any:
    """The regularizer that the user gave to a weight, bound or not, or None.

    It is None for a LoRA factor that the regularizer does not fit. Keras puts
    the regularizer of a kernel on both factors. But these have other shapes and
    feed no units, so groups or a penalty factor for each entry may not fit.

    Args:
        variable: the weight.
        layout: the meaning of its axes in its layer, or None if unknown.
    """
    regularizer = own_regularizer(variable)
    if variable.name.startswith("lora_") and isinstance(
        regularizer, StrengthRegularizer
    ):
        try:
            regularizer.grouping(tuple(variable.shape), layout)
        except ValueError:
            return None
    return regularizer


def weight_penalties(
    model: keras.Model,
) -> dict[StrengthRegularizer, list[keras.Variable]]:
    """The regularizers of kreg on weights, each with the variables it acts on.

    The regularizers of an unbuilt layer are read from its attributes; they have
    no variables.
    """
    owners: dict[StrengthRegularizer, list[keras.Variable]] = {}
    for variable in model.weights:
        regularizer = own_regularizer(variable)
        if isinstance(regularizer, StrengthRegularizer):
            owners.setdefault(regularizer, []).append(variable)
    for layer in flatten_layers(model):
        if not layer.built:
            for name, value in vars(layer).items():
                if (
                    isinstance(value, StrengthRegularizer)
                    and "activity" not in name
                ):
                    owners.setdefault(value, [])
    return owners


def activity_penalties(model: keras.Model) -> list[StrengthRegularizer]:
    """The regularizers of kreg on the outputs of layers."""
    regularizers = (
        layer.activity_regularizer for layer in flatten_layers(model)
    )
    return [r for r in regularizers if isinstance(r, StrengthRegularizer)]


def has_schedules(model: keras.Model) -> bool:
    """Whether a strength of any regularizer of kreg follows a schedule."""
    regularizers = [*weight_penalties(model), *activity_penalties(model)]
    return any(regularizer.is_scheduled for regularizer in regularizers)


def chosen_penalties(
    model: keras.Model, weights: Weights | None
) -> dict[StrengthRegularizer, list[keras.Variable]]:
    """The penalties of `weights`, each with the variables it acts on.

    Args:
        model: the model.
        weights: variables and layers of the model; None for all weights with a
            kreg penalty.

    Raises:
        ValueError: if none has a penalty, or if a penalty also acts on weights
            that are not in `weights`.
    """
    owners = weight_penalties(model)
    if weights is not None:
        chosen = {id(v) for v in chosen_variables(model, weights)}
        owners = {
            penalty: variables
            for penalty, variables in owners.items()
            if any(id(variable) in chosen for variable in variables)
        }
        for penalty, variables in owners.items():
            others = [v.path for v in variables if id(v) not in chosen]
            if others:
                raise ValueError(
                    "`weights` must hold all weights that share a penalty. "
                    "Name all, or give each its own penalty. Received: weights "
                    f"with {penalty!r}, which also regularizes {others}"
                )
    if not owners:
        raise ValueError(
            "`weights` must hold a weight with a kreg penalty, such as "
            "`kernel_regularizer=kreg.L1(1e-4)`. "
            f"Received: weights={weights!r} of the model `{model.name}`"
        )
    return owners
