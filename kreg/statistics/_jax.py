"""Compiling a reading on JAX: one jitted function."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras


def compiled(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """`function(values of variables, *numbers)`, jitted."""
    jitted = jax.jit(function)
    return lambda *numbers: jitted([v.value for v in variables], *numbers)


def blocked(function: Callable[..., Any], w: Any) -> Callable[..., Any]:
    """`function`, taking the entries in blocks on a CPU."""
    if jax.default_backend() != "cpu":
        return function
    return lambda *arguments: function(*arguments, blocked=True)
