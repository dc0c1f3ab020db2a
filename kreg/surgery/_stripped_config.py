"""Serialized configs of Keras without kreg's objects."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kreg.regularizers import Penalty

PLACES = ("regularizer", "constraint")
"""How the attributes of layers end that `strip` and `without_kreg` empty."""


def without_kreg(config: Any) -> Any:
    """A deep copy of a config in which kreg regularizes nothing.

    Args:
        config: what `get_config` of a layer or model returns, or
            `keras.saving.serialize_keras_object` of it, or a part of either.

    Returns:
        The copy. Where a key that ends in `regularizer` or `constraint` held
        an object of kreg, it holds None. Any other object of kreg is still
        there; `places_of_kreg` tells where.
    """
    if isinstance(config, Mapping):
        return {
            key: None
            if str(key).endswith(PLACES) and is_of_kreg(value)
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
    """Where a config holds objects of kreg, as `layers[0].config.kernel`."""
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

    So is a penalty that somebody else has derived from kreg's.
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
        isinstance(cls, type) and issubclass(cls, Penalty)
    )
