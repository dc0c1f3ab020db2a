"""Configs of models that hold the models inside them, in serialized form."""

from collections.abc import Mapping
from typing import Any

import keras


def parts_in(
    config: Any, parts: Mapping[str, keras.layers.Layer]
) -> dict[str, keras.layers.Layer]:
    """The parts of a model that its config holds, by their names.

    Args:
        config: the config of the model, or a part of it.
        parts: the layers and models inside the model, by their names.
    """
    part = _part_at(config, parts)
    if part is not None:
        return {part.name: part}
    found: dict[str, keras.layers.Layer] = {}
    for value in _values(config):
        found.update(parts_in(value, parts))
    return found


def with_parts(
    config: Any,
    parts: Mapping[str, keras.layers.Layer],
    made: Mapping[str, keras.layers.Layer],
) -> Any:
    """A config that holds other layers in the place of parts of a model.

    Args:
        config: the config of the model, or a part of it.
        parts: the layers and models inside the model, by their names.
        made: those that take their places, by the same names.
    """
    part = _part_at(config, parts)
    if part is not None:
        return keras.saving.serialize_keras_object(made[part.name])
    if isinstance(config, Mapping):
        return {
            key: with_parts(value, parts, made) for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(with_parts(part, parts, made) for part in config)
    return config


def _values(config: Any) -> Any:
    if isinstance(config, Mapping):
        return config.values()
    return config if isinstance(config, list | tuple) else ()


def _part_at(
    config: Any, parts: Mapping[str, keras.layers.Layer]
) -> keras.layers.Layer | None:
    """The part of a model of which a config is the serialized form."""
    if not isinstance(config, Mapping):
        return None
    inner = config.get("config")
    if not isinstance(inner, Mapping):
        return None
    part = parts.get(str(inner.get("name")))
    if type(part).__name__ != config.get("class_name"):
        return None
    return part
