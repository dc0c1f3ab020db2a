"""What a `.keras` file names that cannot be loaded."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

CONFIG = "config.json"
_LARGEST = 1 << 26  # bytes of a config; the file is not to be trusted
_FUNCTIONS = (
    keras.activations,
    keras.constraints,
    keras.initializers,
    keras.losses,
    keras.metrics,
    keras.ops,
    keras.regularizers,
)


def model_config(path: Path) -> dict[str, Any]:
    """The config of the model in a `.keras` file; empty if there is none."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CONFIG) as file:
            config = json.loads(file.read(_LARGEST))
    except Exception:  # of a file that may hold anything
        return {}
    return config if isinstance(config, dict) else {}


def has_python_code(config: Any) -> bool:
    """Whether a config holds Python code, as of `Lambda` layers."""
    return any(part.get("class_name") == "__lambda__" for part in _all(config))


def unknown_objects(config: Any) -> dict[str, str | None]:
    """Classes and functions that are neither Keras's nor registered.

    Returns:
        From the name of each to the module that it was in, None if the config
        does not tell.
    """
    found: dict[str, str | None] = {}
    for part in _all(config):
        module, name = part.get("module"), part.get("class_name")
        if name == "function":
            function = part.get("config")
            if isinstance(function, str) and not _is_known_function(function):
                found[function] = None
        elif isinstance(module, str) and not _is_of_keras(module):
            registered = part.get("registered_name") or name
            if keras.saving.get_registered_object(str(registered)) is None:
                found[str(registered)] = module
    return found


def _all(config: Any) -> Iterator[dict[str, Any]]:
    parts = [config]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield part
            parts.extend(reversed(part.values()))
        elif isinstance(part, list):
            parts.extend(reversed(part))


def _is_of_keras(module: str) -> bool:
    return module == "builtins" or module.split(".")[0] == "keras"


def _is_known_function(name: str) -> bool:
    return keras.saving.get_registered_object(name) is not None or any(
        hasattr(module, name) for module in _FUNCTIONS
    )
