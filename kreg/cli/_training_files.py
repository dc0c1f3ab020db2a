"""Reads arrays from files, and finds the function that builds a model."""

import importlib
import importlib.util
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from kreg.cli._model_files import import_modules
from kreg.cli._process import CommandError, UsageError, in_one_line

_NAMES = ("x", "y", "sample_weight", "x_test", "y_test")


def read_data(path: Path) -> tuple[Any, Any]:
    """The data and the test data in an `.npz` file; without test data, None.

    Raises:
        CommandError: if there is no such file, or it does not hold the right
            arrays.
    """
    arrays = _read_arrays(path, _FORM)
    if not isinstance(arrays, dict):
        raise CommandError(f"{path}: {_FORM}")
    unknown = sorted(set(arrays) - set(_NAMES))
    if unknown or not {"x", "y"} <= set(arrays):
        raise CommandError(
            f"{path}: {_FORM}; it has {', '.join(sorted(arrays)) or 'none'}"
        )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise CommandError(f"{path}: must hold both of x_test and y_test")
    data = tuple(arrays[name] for name in _NAMES[:3] if name in arrays)
    test = tuple(arrays[name] for name in _NAMES[3:] if name in arrays)
    return data, test or None


_FORM = (
    "must be an .npz file with arrays named x and y, and perhaps "
    "sample_weight, x_test and y_test, as "
    "`numpy.savez(path, x=x, y=y)` writes it"
)


def read_sample(path: Path) -> Any:
    """The inputs of a model in an `.npy` or `.npz` file.

    Returns:
        The array, if there is only one; a list, if the arrays have
        `numpy.savez`'s default names `arr_0`, `arr_1` and so on; otherwise a
        dict of the arrays by name.

    Raises:
        CommandError: if there is no such file, or it holds no arrays.
    """
    arrays = _read_arrays(path, _SAMPLE_FORM)
    if not isinstance(arrays, dict):
        return arrays
    if not arrays:
        raise CommandError(f"{path}: {_SAMPLE_FORM}")
    unnamed = [f"arr_{i}" for i in range(len(arrays))]
    if set(arrays) == set(unnamed):
        inputs = [arrays[name] for name in unnamed]
        return inputs if len(inputs) > 1 else inputs[0]
    return arrays


_SAMPLE_FORM = (
    "must be an .npy file with an array, or an .npz file with an array for "
    "each input, by its name, as `numpy.savez(path, **inputs)` writes it"
)


def _read_arrays(path: Path, form: str) -> Any:
    """The array in an `.npy` file, or those in an `.npz` file by name.

    Raises:
        CommandError: if there is no such file, or it is of neither kind; the
            message then contains `form`.
    """
    try:
        # An `.npy` file may hold a pickle, which can run code.
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if not path.is_file():
            raise CommandError(f"{path}: no such file") from error
        raise CommandError(f"{path}: {form}; {in_one_line(error)}") from error


def build_function(text: str) -> Callable[[], Any]:
    """The function that `FILE.py:FUNCTION` or `MODULE:FUNCTION` names.

    Raises:
        UsageError: if `text` has neither form.
        CommandError: if the module cannot be imported, or has no such
            function.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UsageError(
            f"{text}: must be FILE.py:FUNCTION or MODULE:FUNCTION, such as "
            "train.py:build_model"
        )
    if place.endswith(".py"):
        module = _import_file(Path(place))
    else:
        import_modules([place])
        module = sys.modules[place]
    function = getattr(module, name, None)
    if not callable(function):
        raise CommandError(f"{place}: has no function {name}")
    return function


def _import_file(path: Path) -> ModuleType:
    """Import a file as a module that can import others from its folder."""
    if not path.is_file():
        raise CommandError(f"{path}: no such file")
    name = path.stem
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or name in sys.modules:
        raise CommandError(
            f"{path}: cannot be imported as {name}, which is the name of "
            "another module: rename it"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise CommandError(
            f"cannot import {path}: {in_one_line(error)}"
        ) from error
    return module
