"""Checks of arguments: numbers, flags, paths, functions, models.

Each check takes the name of an argument and its value. It returns the value to
keep, or raises a `TypeError` or a `ValueError` that names the argument.
"""

import inspect
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

T = TypeVar("T")
Check = Callable[[str, Any], T]

_LARGEST_INTEGER = 2**63 - 1


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    """The error for a value of the wrong type."""
    return TypeError(
        f"`{name}` must be {expected}. Received: {name}={shown(value)} "
        f"(of type {type(value).__name__})"
    )


def wrong_value(name: str, expected: str, value: object) -> ValueError:
    """The error for a value of the right type that is out of range."""
    return ValueError(
        f"`{name}` must be {expected}. Received: {name}={shown(value)}"
    )


def shown(value: object) -> str:
    """The `repr` of anything, shortened."""
    try:
        text = repr(value)
    except Exception:  # a foreign class, or an integer too large to print
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 200 else f"{text[:140]} [...] {text[-50:]}"


def optional(check: Check[T], name: str, value: Any) -> T | None:
    """Return None as it is, and any other value checked by `check`."""
    return None if value is None else check(name, value)


def real_number(name: str, value: Any) -> float:
    """Return `value` as a finite float, or raise naming the argument."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, numbers.Real
    ):
        raise wrong_type(name, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise wrong_value(name, "a finite number", value)
    return number


def nonnegative_number(name: str, value: Any) -> float:
    """Return `value` as a finite float of at least 0."""
    number = real_number(name, value)
    if number < 0:
        raise wrong_value(name, "a non-negative number", value)
    return number


def positive_number(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0."""
    number = real_number(name, value)
    if number <= 0:
        raise wrong_value(name, "a positive number", value)
    return number


def positive_integer(name: str, value: Any) -> int:
    """Return `value` as an int of at least 1."""
    return _integer_from(1, "a positive integer", name, value)


def nonnegative_integer(name: str, value: Any) -> int:
    """Return `value` as an int of at least 0."""
    return _integer_from(0, "a non-negative integer", name, value)


def integer(name: str, value: Any) -> int:
    """Return `value` as an int of any sign."""
    return _integer_from(-_LARGEST_INTEGER, "an integer", name, value)


def _integer_from(least: int, expected: str, name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, numbers.Integral
    ):
        raise wrong_type(name, expected, value)
    number = int(value)
    if not least <= number <= _LARGEST_INTEGER:
        if number > 0:
            expected += f" of at most {_LARGEST_INTEGER}"
        raise wrong_value(name, expected, value)
    return number


def number_or_tensor(name: str, value: Any) -> Any:
    """Return `value` if it is a finite number or a tensor of numbers."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        if keras.backend.standardize_dtype(value.dtype) in ("bool", "string"):
            raise wrong_type(name, "a number or a tensor of numbers", value)
        return value
    return real_number(name, value)


def boolean(name: str, value: Any) -> bool:
    """Return `value` as a bool, or raise naming the argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise wrong_type(name, "True or False", value)
    return bool(value)


def verbosity(name: str, value: Any) -> int:
    """Return `value` as 0 or 1; False and True are accepted, too."""
    if not isinstance(value, (bool, np.bool_, numbers.Integral)):
        raise wrong_type(name, "0 or 1", value)
    if value not in (0, 1):
        raise wrong_value(name, "0 or 1", value)
    return int(value)


def nonempty_text(
    name: str, value: Any, expected: str = "a string that is not empty"
) -> str:
    """Return `value` if it is a string that is not empty."""
    if not isinstance(value, str):
        raise wrong_type(name, expected, value)
    if not value:
        raise wrong_value(name, expected, value)
    return value


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is one of some strings."""
    choices = list(choices)
    if not isinstance(value, str):
        raise wrong_type(name, f"one of {choices}", value)
    if value not in choices:
        raise wrong_value(name, f"one of {choices}", value)
    return value


def instance_of(
    name: str, value: Any, classes: type[T] | tuple[type, ...], expected: str
) -> T:
    """Return `value` if it is an instance of one of `classes`."""
    if not isinstance(value, classes):
        raise wrong_type(name, expected, value)
    return value  # type: ignore[return-value]


def callable_object(name: str, value: Any, expected: str = "a function") -> Any:
    """Return `value` if it can be called."""
    if not callable(value):
        raise wrong_type(name, expected, value)
    return value


def list_of(name: str, value: Any, expected: str) -> list[Any]:
    """Return the entries of an iterable as a list; strings are refused."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise wrong_type(name, expected, value)
    try:
        return list(value)
    except Exception:  # a scalar tensor
        raise wrong_type(name, expected, value) from None


def refuse_unknown_keys(cls: type, config: Mapping[str, Any]) -> None:
    """Raise if `config` holds a key that the constructor of `cls` lacks."""
    instance_of("config", config, Mapping, "a mapping")
    accepted = list(inspect.signature(cls).parameters)
    unknown = sorted(set(config) - set(accepted))
    if unknown:
        raise ValueError(
            f"`config` of {cls.__name__} may hold the keys {accepted}; it was "
            "probably written by a newer version of kreg, so upgrade kreg or "
            f"remove the unknown keys. Received: unknown keys {unknown}"
        )


def checked_path(name: str, value: Any) -> Path:
    """Return `value` as a path."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(
        os.fspath(value), str
    ):
        raise wrong_type(name, "a path, as a string or a `pathlib.Path`", value)
    if not os.fspath(value) or "\0" in os.fspath(value):
        raise wrong_value(
            name, 'a path that names a place (`"."` is this folder)', value
        )
    return Path(value)


def local_path(name: str, value: Any) -> Path:
    """Return `value` as the path of a directory on this machine."""
    directory = checked_path(name, value)
    if "://" in os.fspath(value):
        expected = "the path of a local directory; copy the log from there"
        raise wrong_value(name, expected, value)
    return directory


def keras_model(model: object, name: str = "model") -> None:
    """Raise if `model` is not a `keras.Model`."""
    if not isinstance(model, keras.Model):
        raise wrong_type(name, "a `keras.Model`", model)


def built_model(model: object, name: str = "model") -> None:
    """Raise if `model` is not a `keras.Model` whose weights exist."""
    keras_model(model, name)
    if not model.built:  # type: ignore[attr-defined]
        raise ValueError(
            f"`{name}` must be built: call it on data, or `build` it with an "
            f"input shape. Received: {name}={model!r}, which has no weights yet"
        )


def model_with_weights(model: object) -> None:
    """Raise if `model` is not a `keras.Model`, or is waiting for its weights.

    A model with its own training step and no `call` is never built, but has the
    weights of the models inside it.
    """
    keras_model(model)
    if not model.weights:  # type: ignore[attr-defined]
        built_model(model)
