"""Checks of what users pass: numbers, integers, paths, models, configs."""

import inspect
import math
import numbers
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
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
    return _integer_from(1, "a positive integer", name, value)


def nonnegative_integer(name: str, value: Any) -> int:
    """Return `value` as an int of at least 0."""
    return _integer_from(0, "a non-negative integer", name, value)


def _integer_from(least: int, expected: str, name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, numbers.Integral
    ):
        raise TypeError(
            f"`{name}` must be {expected}. "
            f"Received: {name}={value!r} (of type {type(value).__name__})"
        )
    if value < least:
        raise ValueError(
            f"`{name}` must be {expected}. Received: {name}={value!r}"
        )
    return int(value)


def boolean(name: str, value: Any) -> bool:
    """Return `value` as a bool, or raise naming the argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"`{name}` must be True or False. "
            f"Received: {name}={value!r} (of type {type(value).__name__})"
        )
    return bool(value)


def refuse_unknown_keys(cls: type, config: Mapping[str, Any]) -> None:
    """Raise if `config` holds a key that the constructor of `cls` lacks."""
    accepted = list(inspect.signature(cls).parameters)
    unknown = sorted(set(config) - set(accepted))
    if unknown:
        raise ValueError(
            f"`config` of {cls.__name__} may hold the keys {accepted}; it was "
            "probably written by a newer version of kreg, so upgrade kreg or "
            f"remove the unknown keys. Received: unknown keys {unknown}"
        )


def local_path(log_dir: Any) -> Path:
    """Return `log_dir` as a path on this machine."""
    if not isinstance(log_dir, (str, os.PathLike)):
        raise TypeError(
            "`log_dir` must be the path of a directory. "
            f"Received: log_dir={log_dir!r} (of type {type(log_dir).__name__})"
        )
    if "://" in os.fspath(log_dir):
        raise ValueError(
            "`log_dir` must be the path of a local directory; copy the log "
            f"from there. Received: log_dir={log_dir!r}"
        )
    return Path(log_dir)


def keras_model(model: object) -> None:
    """Raise if `model` is not a `keras.Model`."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})"
        )


def built_model(model: object) -> None:
    """Raise if `model` is not a `keras.Model` whose weights exist."""
    keras_model(model)
    if not model.built:  # type: ignore[attr-defined]
        raise ValueError(
            "`model` must be built: call it on data, or `build` it with an "
            f"input shape. Received: model={model!r}, which has no weights yet"
        )


def model_with_weights(model: object) -> None:
    """Raise if `model` is not a `keras.Model`, or is waiting for its weights.

    A model with its own training step and no `call` is never built, but has the
    weights of the models inside it.
    """
    keras_model(model)
    if not model.weights:  # type: ignore[attr-defined]
        built_model(model)
