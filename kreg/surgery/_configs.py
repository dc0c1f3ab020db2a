"""The configs of layers, as far as they can be had."""

import warnings
from typing import Any

import keras

from kreg.statistics._linter._tolerant import answer


def config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """The config of `layer`; empty where it has none.

    Without the warnings that Keras gives when a model is saved.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return answer(layer.get_config) or {}


def compile_config_of(model: keras.Model) -> dict[str, Any]:
    """What `model` was compiled with; empty where it cannot be had."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return answer(model.get_compile_config) or {}
