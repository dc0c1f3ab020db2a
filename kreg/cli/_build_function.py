"""The function that builds a model, in a file or a module."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from kreg.cli._errors import CommandError, UsageError, in_one_line
from kreg.cli._model_files import import_modules


def build_function(text: str) -> Callable[[], Any]:
    """The function that `FILE.py:FUNCTION` or `MODULE:FUNCTION` names.

    Raises:
        UsageError: if `text` names none.
        CommandError: if there is no such module or function in it, or it
            cannot be imported.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UsageError(
            f"{text}: must be FILE.py:FUNCTION or MODULE:FUNCTION, such as "
            "train.py:build_model"
        )
    if place.endswith(".py"):
        module = _of_file(Path(place))
    else:
        import_modules([place])
        module = sys.modules[place]
    function = getattr(module, name, None)
    if not callable(function):
        raise CommandError(f"{place}: has no function {name}")
    return function


def _of_file(path: Path) -> ModuleType:
    """Import a file as its own module, beside which others are found."""
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
