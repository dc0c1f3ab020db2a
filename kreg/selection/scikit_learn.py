"""The classes that need scikit-learn, which is imported with them alone."""

from importlib import import_module
from typing import Any

_MODULES = {
    "FeatureSelector": "kreg.selection.features.selectors",
    "StabilitySelector": "kreg.selection.features.selectors",
}


def selector_class(name: str) -> Any:
    """The class of that name.

    Raises:
        AttributeError: if there is none.
        ImportError: if scikit-learn is not installed.
    """
    if name not in _MODULES:
        raise AttributeError(
            f"module 'kreg.selection' has no attribute {name!r}"
        )
    try:
        import_module("sklearn")
    except ImportError as error:
        raise ImportError(
            f"`{name}` needs scikit-learn, which is not installed: "
            "run `pip install scikit-learn`"
        ) from error
    return getattr(import_module(_MODULES[name]), name)
