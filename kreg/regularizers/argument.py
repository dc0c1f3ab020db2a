"""`Argument`: a constructor's argument as a checked, read-only attribute."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


class Argument:
    """An argument of a constructor: checked when set, then read-only.

    Args:
        check: function of the argument's name and its value that returns the
            value to keep, or raises.

    Example:

    >>> from kreg._arguments import positive_number
    >>> from kreg.regularizers.argument import Argument
    >>> class Window:
    ...     width = Argument(positive_number)
    ...     def __init__(self, width):
    ...         self.width = width
    >>> Window(2).width
    2.0
    """

    advice = "make a new one"

    def __init__(self, check: Callable[[str, Any], Any]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self._name not in instance.__dict__:
            raise AttributeError(
                f"`{self._name}` of a {type(instance).__name__} must be set "
                f"in its constructor: `self.{self._name} = {self._name}`"
            )
        return instance.__dict__[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        if self._name in instance.__dict__:
            raise AttributeError(
                f"`{self._name}` of a {type(instance).__name__} cannot be "
                f"changed: a compiled train step would not see it; "
                f"{self.advice}. Received: {self._name}={value!r}"
            )
        instance.__dict__[self._name] = self._check(self._name, value)


def serialized_argument(name: str, value: Any) -> Any:
    """The JSON form of an argument: a number, text, array or Keras object.

    Raises:
        ValueError: if it is an object that Keras cannot serialize.
    """
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return list(value)
    if not callable(value):
        return value
    try:
        return keras.saving.serialize_keras_object(value)
    except Exception as error:  # `get_config` may be a user's own
        raise ValueError(
            f"`{name}` must be an object with a `get_config`, or a function, "
            f"to be saved. Received: {name}={value!r}"
        ) from error
