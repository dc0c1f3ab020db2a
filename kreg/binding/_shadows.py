"""Replacing methods of one model object, and putting them back."""

from typing import Any

import keras

_MARK = "_kreg_shadow"


def shadow(model: keras.Model, name: str, replacement: Any) -> None:
    """Replace a method of one model, whatever its class.

    Args:
        model: the model.
        name: the name of the method.
        replacement: a function whose `__wrapped__` is the original method.
    """
    setattr(replacement, _MARK, True)
    setattr(model, name, replacement)


def lift_shadows(model: keras.Model) -> None:
    """Put back every method of `model` that `shadow` replaced.

    A method that the user had set on this object is set on it again.
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
