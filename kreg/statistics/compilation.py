"""Compiling functions of variables, on the backends that can."""

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import keras
from keras import ops


def compiler() -> ModuleType | None:
    """The module that compiles functions on this backend; None on torch."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        return None
    return importlib.import_module(f"kreg.statistics._{backend}")


def compiled(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """Compile `function(values of variables, *numbers)`.

    Returns:
        A function of the numbers that reads the variables at each call.
    """
    module = compiler()
    return (module.compiled if module else evaluated)(function, variables)


def evaluated(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """The same as `compiled`, but without compiling anything."""

    def run(*numbers: Any) -> Any:
        values = [variable.value for variable in variables]
        return function(values, *map(ops.convert_to_tensor, numbers))

    return run
