"""Reading attributes of objects that are not kreg's and may raise anything."""

from collections.abc import Callable
from typing import Any

from keras import ops


def result_or_none(function: Callable[[], Any]) -> Any:
    """The result of `function()`; None if it raises."""
    try:
        return function()
    except Exception:  # of a class that is not ours
        return None


def attribute_or_none(owner: Any, name: str) -> Any:
    """`owner.name`; None if it is missing or its property raises."""
    return result_or_none(lambda: getattr(owner, name))


def float_or_nan(value: Any) -> float:
    """A number, variable or scalar tensor as a float; NaN for anything else."""
    number = result_or_none(lambda: float(ops.convert_to_numpy(value)))
    return float("nan") if number is None else float(number)
