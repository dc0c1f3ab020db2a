"""Asking objects that are not kreg's, which may raise anything."""

from collections.abc import Callable
from typing import Any

from keras import ops


def attribute(owner: Any, name: str) -> Any:
    """`owner.name`; None where there is none or its property raises."""
    return answer(lambda: getattr(owner, name))


def number(value: Any) -> float:
    """A number, variable or scalar tensor as a float; NaN for anything else."""
    found = answer(lambda: float(ops.convert_to_numpy(value)))
    return float("nan") if found is None else float(found)


def answer(question: Callable[[], Any]) -> Any:
    """What `question()` returns; None where it raises."""
    try:
        return question()
    except Exception:  # of a class that is not ours
        return None
