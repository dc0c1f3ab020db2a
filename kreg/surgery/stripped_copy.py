"""Copies of models and configs without any object of kreg."""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg._keras_private import cloned, flatten_layers, trusting
from kreg.error_messages import one_line
from kreg.foreign_objects import result_or_none
from kreg.regularizers.strength_regularizer import StrengthRegularizer


def config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """The config of `layer`; empty if it has none.

    Keras's warnings about saving are suppressed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return result_or_none(layer.get_config) or {}


def compile_config_of(model: keras.Model) -> dict[str, Any]:
    """The compile config of `model`; empty if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return result_or_none(model.get_compile_config) or {}


ATTRIBUTE_ENDINGS = ("regularizer", "constraint")
"""`strip` and `without_kreg` clear attributes with these endings."""


def without_kreg(config: Any) -> Any:
    """A deep copy of a config without kreg's regularizers and constraints.

    Args:
        config: the config or the serialized form of a layer or a model, or a
            part of one.

    Returns:
        The copy. Keys that end in `regularizer` or `constraint` hold None in
        place of an object of kreg. Objects of kreg under other keys remain,
        and `places_of_kreg` finds them.
    """
    if isinstance(config, Mapping):
        return {
            key: None
            if str(key).endswith(ATTRIBUTE_ENDINGS) and is_of_kreg(value)
            else without_kreg(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        parts = [without_kreg(part) for part in config]
        if hasattr(config, "_fields"):
            return type(config)(*parts)
        return type(config)(parts)
    return config


def places_of_kreg(config: Any, place: str = "") -> Iterator[str]:
    """The places of kreg's objects in a config: `layers[0].config.kernel`."""
    if is_of_kreg(config):
        yield place or "the config itself"
    elif isinstance(config, Mapping):
        for key, value in config.items():
            yield from places_of_kreg(value, f"{place}.{key}".lstrip("."))
    elif isinstance(config, (list, tuple)):
        for index, part in enumerate(config):
            yield from places_of_kreg(part, f"{place}[{index}]")


def is_of_kreg(value: Any) -> bool:
    """Whether `value` is an object of kreg, serialized or not.

    Classes that users derive from kreg's regularizers count, too.
    """
    if isinstance(value, Mapping):
        name = str(value.get("registered_name"))
        cls = keras.saving.get_registered_object(name)
    elif isinstance(value, (str, int, float, type(None))):
        return False
    else:
        cls = type(value)
        name = keras.saving.get_registered_name(cls)
    return name.startswith("kreg>") or (
        isinstance(cls, type) and issubclass(cls, StrengthRegularizer)
    )


def stripped_copy(model: keras.Model) -> keras.Model:
    """A copy of a model with the same weights, without kreg, not compiled.

    Args:
        model: a built `keras.Model`: sequential, functional, or of a subclass
            that has a config and builds itself from it. Not changed.

    Returns:
        The copy. Its layers have the same names and dtype policies, and its
        weights are equal to the last bit.

    Raises:
        ValueError: if the model cannot be made anew from its config, or its
            config holds an object of kreg other than a regularizer of a layer.
    """
    try:
        copy = _from_config(model)
    except Exception as error:  # a custom `from_config`
        raise ValueError(
            f"`model` must be one that can be made anew from its config. "
            f"Received: `{model.name}` (of type {type(model).__name__}), "
            f"which fails with {one_line(error)}"
        ) from error
    if weight_specs(copy) != weight_specs(model):
        raise ValueError(
            "`model` must be one that makes the same weights anew from its "
            f"config. Received: `{model.name}` (of type "
            f"{type(model).__name__}) with {len(model.weights)} weights, "
            f"of which the copy makes {len(copy.weights)}"
        )
    copy_weights(model, copy)
    return copy


def weight_specs(layer: keras.layers.Layer) -> list[tuple[Any, str]]:
    """The shape and the dtype of each weight of a layer or a model."""
    return [(tuple(v.shape), v.dtype) for v in layer.weights]


def copy_weights(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Set the weights of a copy to those of a layer or a model."""
    for variable, copied in zip(source.weights, copy.weights, strict=True):
        # A copy, because a step on JAX may reuse the memory of the array.
        copied.assign(np.array(ops.convert_to_numpy(variable)))


def config_without_kreg(layer: keras.layers.Layer) -> dict[str, Any]:
    """The config of a layer or a model, to make another one from it.

    Raises:
        ValueError: if it holds an object of kreg other than a regularizer of a
            layer.
    """
    with warnings.catch_warnings():
        # Keras warns that a lambda may not load elsewhere.
        warnings.simplefilter("ignore")
        config: dict[str, Any] = without_kreg(layer.get_config())
    _drop_compile_configs(config)
    place = next(places_of_kreg(config), None)
    if place is not None:
        raise ValueError(f"its config has an object of kreg at `{place}`")
    return config


def anew(model: keras.Model, config: dict[str, Any]) -> keras.Model:
    """A model of the same class from a config.

    Args:
        model: the model, whose layers have the classes in the config.
        config: its config, as it is or with other sizes.
    """
    # Lambdas of the model are trusted: they are in this process already.
    with keras.saving.custom_object_scope(classes_of(model)), trusting():
        return type(model).from_config(config)


def classes_of(model: keras.Model) -> dict[str, type]:
    """The classes of the model's layers, by the names that configs have.

    Classes of Keras are left out: Keras finds them itself. Besides, some of its
    layers have the names of operations and would be mistaken for these.
    """
    return {
        keras.saving.get_registered_name(type(layer)): type(layer)
        for layer in flatten_layers(model)
        if not type(layer).__module__.startswith("keras.")
    }


def copies_of(model: keras.Model) -> tuple[Callable[[], keras.Model], ...]:
    """Functions that copy a model whose kreg regularizers are set aside.

    The first makes the model anew from its config, the second saves and loads
    it, and the third copies its attributes.
    """

    def loaded() -> keras.Model:
        with tempfile.TemporaryDirectory() as folder, trusting():
            path = Path(folder, "model.keras")
            model.save(path)
            classes = classes_of(model)
            return keras.saving.load_model(path, classes, compile=False)

    return lambda: stripped_copy(model), loaded, lambda: cloned(model)


def _from_config(model: keras.Model) -> keras.Model:
    copy = anew(model, config_without_kreg(model))
    if not copy.built:
        copy.build_from_config(model.get_build_config())
    return copy


def _drop_compile_configs(config: object) -> None:
    """Drop compile configs, which would restore optimizers of inner models."""
    if isinstance(config, dict):
        config.pop("compile_config", None)
        for value in config.values():
            _drop_compile_configs(value)
    elif isinstance(config, list):
        for value in config:
            _drop_compile_configs(value)
