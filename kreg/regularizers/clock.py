"""The clock: the step and the multipliers at which penalties are evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from kreg._types import Tensor


class Clock(Protocol):
    """The step and the multipliers of a training or test step."""

    def step(self) -> Tensor:
        """The number of optimizer updates so far."""

    def multiplier(self, penalty: Any) -> Tensor | float:
        """The number that multiplies the strengths of `penalty`."""

    def has(self, bound: Any) -> bool:
        """Whether the running step is that of a model with a weight.

        Args:
            bound: the bound regularizer of the weight.
        """

    def step_of(self, bound: Any) -> Tensor:
        """The number of updates so far of the optimizer of a weight."""

    def optimizer_of(self, bound: Any) -> Any:
        """The optimizer that updates a weight; None if unknown."""

    def is_constant(self, bound: Any) -> bool:
        """Whether a function traced by JAX would be stuck at its first step."""


_current: ContextVar[Clock | None] = ContextVar("kreg_clock", default=None)


def current_clock() -> Clock | None:
    """The clock of the running training or test step, if there is one."""
    return _current.get()


@contextmanager
def clock_scope(clock: Clock) -> Iterator[None]:
    """Make `clock` the current one."""
    token = _current.set(clock)
    try:
        yield
    finally:
        _current.reset(token)
