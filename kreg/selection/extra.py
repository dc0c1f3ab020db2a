"""Errors where scikit-learn or SciPy, of the extra `selection`, is absent."""

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
        *modules: the packages, by the names that Python imports.

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
    """The selector class of that name, imported with scikit-learn.

    Without scikit-learn it is a class that cannot be called, so that
    `from kreg.selection import *` does without it.

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
