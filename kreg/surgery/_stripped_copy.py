"""A copy of a model with nothing of kreg in it."""

import keras
import numpy as np
from keras import ops

from kreg._keras_private import flatten_layers, trusting
from kreg.surgery._stripped_config import places_of_kreg, without_kreg


def stripped_copy(model: keras.Model) -> keras.Model:
    """A new model with the same weights, not compiled, without kreg.

    Args:
        model: a built `keras.Model`: sequential, functional, or of a subclass
            that has a config and builds itself from it. Not changed.

    Returns:
        The copy, whose layers have the names and dtype policies of the
        model's, and weights of the same bits.

    Raises:
        ValueError: if the model cannot be made anew from its config, or its
            config holds an object of kreg that is no regularizer of a layer.
    """
    try:
        copy = _from_config(model)
    except Exception as error:  # of a class that is not ours
        raise ValueError(
            f"`model` must be one that can be made anew from its config. "
            f"Received: `{model.name}` (of type {type(model).__name__}), "
            f"which fails with {type(error).__name__}: {error}"
        ) from error
    theirs = [(tuple(v.shape), v.dtype) for v in model.weights]
    ours = [(tuple(v.shape), v.dtype) for v in copy.weights]
    if theirs != ours:
        raise ValueError(
            "`model` must be one that makes the same weights anew from its "
            f"config. Received: `{model.name}` (of type "
            f"{type(model).__name__}) with {len(theirs)} weights, of which "
            f"the copy makes {len(ours)}"
        )
    for variable, source in zip(copy.weights, model.weights, strict=True):
        # An array of its own: a step of JAX may give away the model's memory.
        variable.assign(np.array(ops.convert_to_numpy(source)))
    return copy


def _from_config(model: keras.Model) -> keras.Model:
    config = without_kreg(model.get_config())
    _drop_compile_configs(config)
    place = next(places_of_kreg(config), None)
    if place is not None:
        raise ValueError(f"its config has an object of kreg at `{place}`")
    classes = {
        keras.saving.get_registered_name(type(layer)): type(layer)
        for layer in flatten_layers(model)
    }
    # What its lambdas do is already part of this process.
    with keras.saving.custom_object_scope(classes), trusting():
        copy = type(model).from_config(config)
        if not copy.built:
            copy.build_from_config(model.get_build_config())
    return copy


def _drop_compile_configs(config: object) -> None:
    """Inner models that are compiled would bring their optimizers along."""
    if isinstance(config, dict):
        config.pop("compile_config", None)
        for value in config.values():
            _drop_compile_configs(value)
    elif isinstance(config, list):
        for value in config:
            _drop_compile_configs(value)
