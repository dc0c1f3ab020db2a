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


class FixedStep:
    """A clock that stands still at a step that is given."""

    def __init__(self, step: Tensor) -> None:
        self._step = step

    def step(self) -> Tensor:
        return self._step

    def multiplier(self, penalty: Any) -> float:
        return float(penalty.multiplier)

    def governs(self, owner: Any) -> bool:
        return True

    def acting(self, owner: Any) -> Any:
        return owner


@contextmanager
def at_step(step: Tensor) -> Iterator[None]:
    """Evaluate every penalty at the optimizer iteration `step`.

    Asks what a schedule gives at some step, and tells the step where kreg
    cannot know it: in a custom loop under `jax.jit` that carries the
    optimizer's variables itself.

    Args:
        step: int or scalar integer tensor, the number of optimizer updates.

    Example:

    >>> import kreg, numpy
    >>> penalty = kreg.L1(kreg.schedules.LinearRamp(0.0, 1.0, steps=10))
    >>> with kreg.binding.at_step(5):
    ...     float(penalty(numpy.ones(4)))
    2.0
    """
    with clock_scope(FixedStep(step)):
        yield
