"""Checks of what users pass; each error says what is needed and was given."""

import inspect
import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np


def real_number(name: str, value: Any) -> float:
    """Return `value` as a finite float, or raise naming the argument."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, numbers.Real
    ):
        raise TypeError(
            f"`{name}` must be a number. "
            f"Received: {name}={value!r} (of type {type(value).__name__})"
        )
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(
            f"`{name}` must be a finite number. Received: {name}={value!r}"
        )
    return number


def nonnegative_number(name: str, value: Any) -> float:
    """Return `value` as a finite float of at least 0."""
    number = real_number(name, value)
    if number < 0:
        raise ValueError(
            f"`{name}` must be a non-negative number. "
            f"Received: {name}={value!r}"
        )
    return number


def positive_number(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0."""
    number = real_number(name, value)
    if number <= 0:
        raise ValueError(
            f"`{name}` must be a positive number. Received: {name}={value!r}"
        )
    return number


def positive_integer(name: str, value: Any) -> int:
    """Return `value` as an int of at least 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, numbers.Integral
    ):
        raise TypeError(
            f"`{name}` must be a positive integer. "
            f"Received: {name}={value!r} (of type {type(value).__name__})"
        )
    if value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )
    return int(value)


def known_keys(cls: type, config: Mapping[str, Any]) -> None:
    """Raise if `config` holds a key that the constructor of `cls` lacks."""
    accepted = list(inspect.signature(cls).parameters)
    unknown = sorted(set(config) - set(accepted))
    if unknown:
        raise ValueError(
            f"`config` of {cls.__name__} may hold the keys {accepted}; it was "
            "probably written by a newer version of kreg, so upgrade kreg or "
            f"remove the unknown keys. Received: unknown keys {unknown}"
        )
