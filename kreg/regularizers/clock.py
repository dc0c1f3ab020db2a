"""The clock: it tells a regularizer the step at which it is evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from kreg._types import Tensor


class Clock(Protocol):
    """What a regularizer asks of the step that is running."""

    def step(self) -> Tensor:
        """The number of optimizer updates so far."""

    def multiplier(self, penalty: Any) -> Tensor | float:
        """What the strengths of `penalty` are multiplied by."""

    def is_clock_of(self, owner: Any) -> bool:
        """Whether the penalties that the binding `owner` has bound follow it.

        A binding with an optimizer of its own has a clock of its own.
        """

    def updating_binding(self, owner: Any) -> Any:
        """The binding whose optimizer updates the weight in the running step.

        Differs from `owner`, the one that has bound the weight, when another
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
