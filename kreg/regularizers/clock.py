"""Where a penalty learns the step: the clock that governs an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from kreg._types import Tensor


class Clock(Protocol):
    """What a penalty must know of the moment at which it is evaluated."""

    def step(self) -> Tensor:
        """The number of optimizer updates so far."""

    def multiplier(self, penalty: Any) -> Tensor | float:
        """What the strength of `penalty` is multiplied by."""

    def governs(self, owner: Any) -> bool:
        """Whether a penalty with a clock `owner` of its own follows this."""

    def acting(self, owner: Any) -> Any:
        """Whose optimizer updates the weight of a penalty that follows this."""


_current: ContextVar[Clock | None] = ContextVar("kreg_clock", default=None)


def current_clock() -> Clock | None:
    """The clock of the training or test step that is being run, if any."""
    return _current.get()


@contextmanager
def clock_scope(clock: Clock) -> Iterator[None]:
    """Make `clock` the current one."""
    token = _current.set(clock)
    try:
        yield
    finally:
        _current.reset(token)
