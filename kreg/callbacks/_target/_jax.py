"""Compiling for JAX."""

from collections.abc import Callable, Sequence

import jax

from kreg._types import Tensor


def compiled(
    function: Callable[[Sequence[Tensor]], Tensor],
    values: Callable[[], Sequence[Tensor]],
) -> Callable[[], Tensor]:
    """`function(values())`, compiled at its first call."""
    program = jax.jit(function)
    return lambda: program(values())
