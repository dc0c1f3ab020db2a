"""Errors if scikit-learn or SciPy, from the extra `selection`, is missing."""

from importlib import import_module
from typing import Any

_CLASSES = {
    "FeatureSelector": "kreg.selection.features.selectors",
    "StabilitySelector": "kreg.selection.features.selectors",
}
_PACKAGES = {"sklearn": "scikit-learn", "scipy": "SciPy"}


def require_extra(name: str, *modules: str) -> None:
    """Raise if a package that a public name needs is not installed.

    Args:
        name: the public name.
        *modules: the import names of the packages.

    Raises:
        ImportError: if one cannot be imported; the message names the extra.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise ImportError(
                f"`{name}` needs {_PACKAGES[module]}, which is not installed: "
                'run `pip install "kreg[selection]"`'
            ) from error


def selector_class(name: str) -> Any:
    """The selector class of that name; it imports scikit-learn.

    Without scikit-learn this returns a class that raises when called, so that
    `from kreg.selection import *` still works.

    Raises:
        AttributeError: if there is no such class.
    """
    if name not in _CLASSES:
        raise AttributeError(
            f"module 'kreg.selection' has no attribute {name!r}"
        )
    try:
        require_extra(name, "sklearn")
    except ImportError as error:
        return _class_that_raises(name, str(error))
    return getattr(import_module(_CLASSES[name]), name)


def _class_that_raises(name: str, message: str) -> Any:
    def refuse(self: object, *args: Any, **kwargs: Any) -> None:
        raise ImportError(message)

    return type(name, (), {"__init__": refuse, "__doc__": message})
