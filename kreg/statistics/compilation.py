"""Functions of variables, compiled where the backend compiles."""

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import keras
from keras import ops


def compiler() -> ModuleType | None:
    """The module that compiles on the backend in use; None on torch."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        return None
    return importlib.import_module(f"kreg.statistics._{backend}")


def compiled(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """`function(values of variables, *numbers)` as a function of the numbers.

    The variables are read each time, as they are then.
    """
    module = compiler()
    return (module.compiled if module else evaluated)(function, variables)


def evaluated(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """As `compiled`, but with every operation run by itself."""

    def run(*numbers: Any) -> Any:
        values = [variable.value for variable in variables]
        return function(values, *map(ops.convert_to_tensor, numbers))

    return run
