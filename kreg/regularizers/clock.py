"""The clock: the step and the multipliers at which penalties are evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from kreg._types import Tensor


class Clock(Protocol):
    """The step that is running, as a regularizer sees it."""

    def step(self) -> Tensor:
        """The number of optimizer updates so far."""

    def multiplier(self, penalty: Any) -> Tensor | float:
        """The number that multiplies the strengths of `penalty`."""

    def is_clock_of(self, owner: Any) -> bool:
        """Whether the penalties bound by the binding `owner` follow this clock.

        They do not if `owner` has an optimizer of its own: then it has a clock
        of its own too.
        """

    def updating_binding(self, owner: Any) -> Any:
        """The binding whose optimizer updates the weight in the running step.

        It differs from `owner`, the binding that bound the weight, when another
        bound model shares the layer.
        """


_current: ContextVar[Clock | None] = ContextVar("kreg_clock", default=None)


def current_clock() -> Clock | None:
    """The clock of the training or test step that is running, if any."""
    return _current.get()


@contextmanager
def clock_scope(clock: Clock) -> Iterator[None]:
    """Make `clock` the current one."""
    token = _current.set(clock)
    try:
        yield
    finally:
        _current.reset(token)
