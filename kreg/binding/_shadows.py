"""Methods that kreg replaces on one model object, and puts back."""

from typing import Any

import keras

_MARK = "_kreg_shadow"


def shadow(model: keras.Model, name: str, replacement: Any) -> None:
    """Replace a method of one model, whatever its class.

    Args:
        model: the model.
        name: the name of the method.
        replacement: a function with `__wrapped__`, the method as it was.
    """
    setattr(replacement, _MARK, True)
    setattr(model, name, replacement)


def lift_shadows(model: keras.Model) -> None:
    """Put back every method of `model` that was replaced, as it was.

    One that had been set on this model alone is set again.
    """
    for name, method in list(vars(model).items()):
        original = method
        while _MARK in getattr(original, "__dict__", {}):
            original = original.__wrapped__
        if original is method:
            continue
        delattr(model, name)
        if original != getattr(model, name):
            setattr(model, name, original)
