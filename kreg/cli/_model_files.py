"""Loads untrusted `.keras` files, and explains why one cannot be loaded."""

import importlib
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras

from kreg.cli._process import CommandError, busy, in_one_line, note

CONFIG = "config.json"
_LARGEST = 1 << 26  # bytes of a config to read at most: files are untrusted
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
    except Exception:  # the file may hold anything
        return {}
    return config if isinstance(config, dict) else {}


def has_python_code(config: Any) -> bool:
    """Whether a config holds Python code, such as that of a `Lambda` layer."""
    return any(
        part.get("class_name") == "__lambda__" for part in _nested_dicts(config)
    )


def unknown_objects(config: Any) -> dict[str, str | None]:
    """Classes and functions that are neither Keras's nor registered.

    Returns:
        The module of each object, by the object's name; None if the config
        names no module.
    """
    modules: dict[str, str | None] = {}
    for part in _nested_dicts(config):
        module, name = part.get("module"), part.get("class_name")
        if name == "function":
            function = part.get("config")
            if isinstance(function, str) and not _is_known_function(function):
                modules[function] = None
        elif isinstance(module, str) and not _is_of_keras(module):
            registered = part.get("registered_name") or name
            if keras.saving.get_registered_object(str(registered)) is None:
                modules[str(registered)] = module
    return modules


def _nested_dicts(config: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a config, from the outside in."""
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


def import_modules(names: Iterable[str]) -> None:
    """Import modules, which register the classes that a model needs.

    Modules in the current directory are found last.

    Raises:
        CommandError: if one cannot be imported.
    """
    for name in names:
        if "" not in sys.path and (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)
        try:
            importlib.import_module(name)
        except Exception as error:
            raise CommandError(
                f"cannot import {name}: {in_one_line(error)}"
            ) from error


def open_model(path: Path, *, with_optimizer: bool = False) -> keras.Model:
    """Load a `.keras` file in Keras's safe mode.

    Args:
        path: the file.
        with_optimizer: whether to load the optimizer, loss and metrics, too.
            If they cannot be loaded, a note says so.

    Raises:
        CommandError: if there is no such file, or it holds no Keras model that
            can be loaded; the message says why.
    """
    _refuse_other_files(path)
    with busy(f"loading {path}"):
        if not with_optimizer:
            model = _load_alone(path)
        else:
            try:
                model = keras.saving.load_model(path, safe_mode=True)
            except Exception as error:
                model = _load_alone(path)
                config = model_config(path).get("compile_config")
                note(
                    f"{path}: goes on without the optimizer, loss and metrics: "
                    f"{_cause(error, config)}"
                )
    if not isinstance(model, keras.Model):
        raise CommandError(
            f"{path}: holds a {type(model).__name__}, which is not a model"
        )
    if not model.built:
        raise CommandError(
            f"{path}: the model is not built, so it has no weights: call it "
            "on data before you save it"
        )
    return model


def _load_alone(path: Path) -> Any:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        config = {**model_config(path), "compile_config": None}
        raise CommandError(f"{path}: {_cause(error, config)}") from error


def _refuse_other_files(path: Path) -> None:
    """Raise if a file is not a `.keras` file."""
    try:
        problem = _problem(path)
    except OSError as error:
        problem = error.strerror
    except zipfile.BadZipFile:
        problem = _NO_ARCHIVE
    if problem:
        raise CommandError(f"{path}: {problem}")


def _problem(path: Path) -> str | None:
    """Why a file is not a `.keras` file; None if it is one."""
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return (
            "is a directory; only .keras files are read, and a SavedModel "
            "cannot be made a model of Keras again"
        )
    if path.suffix in (".h5", ".hdf5"):
        new = path.with_suffix(".keras")
        return (
            "only .keras files are read; if it holds a whole model, "
            f"`keras.saving.load_model('{path}').save('{new}')` converts it"
        )
    if path.suffix != ".keras" or not path.is_file():
        return "only .keras files are read, as `model.save` writes them"
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return _NO_ARCHIVE
        with zipfile.ZipFile(file) as archive:
            if CONFIG not in archive.namelist():
                return f"is a zip archive without a model: it has no {CONFIG}"
    return None


_NO_ARCHIVE = "is no .keras file, or not a whole one: it is no zip archive"


def _cause(error: Exception, config: Any) -> str:
    """Why a model cannot be loaded: code, unknown classes, or the error."""
    if has_python_code(config):
        return (
            "it holds Python code, as of a Lambda layer, which is never run "
            "from a file; write your own layer class instead and save again"
        )
    unknown = unknown_objects(config)
    if unknown:
        modules = sorted({m for m in unknown.values() if m}) or ["MODULE"]
        options = " ".join(f"--import {module}" for module in modules)
        return (
            f"it needs {', '.join(unknown)}, which neither Keras nor kreg has: "
            "name the module that registers it with "
            "`@keras.saving.register_keras_serializable()`, as in "
            f"`{options}`"
        )
    return f"cannot be loaded: {in_one_line(error)}"
