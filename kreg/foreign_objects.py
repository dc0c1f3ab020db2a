"""Safe access to objects of other libraries, which may raise anything."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def result_or_none(function: Callable[[], Any]) -> Any:
    """The result of `function()`; None if it raises."""
    try:
        return function()
    except Exception:  # code of another library
        return None


def attribute_or_none(owner: Any, name: str) -> Any:
    """`owner.name`; None if it is missing or its property raises."""
    return result_or_none(lambda: getattr(owner, name))


def float_or_nan(value: Any) -> float:
    """A number, variable or scalar tensor as a float; NaN for anything else."""
    number = result_or_none(lambda: float(ops.convert_to_numpy(value)))
    return float("nan") if number is None else float(number)


def described(value: Any) -> str | None:
    """A short text for a regularizer, constraint, optimizer or rate."""
    if value is None:
        return None
    if isinstance(value, float):
        return f"{value:.6g}"
    name = getattr(value, "__name__", None)  # of a function
    if name is not None:
        return str(name)
    if isinstance(value, keras.optimizers.Optimizer):
        return type(value).__name__
    class_repr: Any = type(value).__repr__
    if class_repr is not object.__repr__:
        return repr(value)
    return _configured(value)


def _configured(value: Any) -> str:
    """A text such as `L2(l2=0.01)`, for a Keras object without a `repr`."""
    name = type(value).__name__
    try:
        config = value.get_config()
    except Exception:  # `get_config` may be a user's own
        return name
    arguments = ", ".join(
        f"{key}={number:.6g}"
        if isinstance(number, float)
        else f"{key}={number}"
        for key, number in config.items()
    )
    return f"{name}({arguments})"
