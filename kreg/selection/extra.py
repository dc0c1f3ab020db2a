"""What needs scikit-learn or SciPy, the packages of the extra `selection`."""

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
        *modules: the packages, as they are imported.

    Raises:
        ImportError: if one cannot be imported; tells the extra.
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
    """The class of that name, whose module imports scikit-learn.

    Raises:
        AttributeError: if there is none.
        ImportError: if scikit-learn is not installed.
    """
    if name not in _CLASSES:
        raise AttributeError(
            f"module 'kreg.selection' has no attribute {name!r}"
        )
    require_extra(name, "sklearn")
    return getattr(import_module(_CLASSES[name]), name)
