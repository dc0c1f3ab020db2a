"""The penalties that were evaluated while a step is being run."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from keras import ops

from kreg._types import Tensor

_record: ContextVar[dict[int, Tensor] | None] = ContextVar(
    "kreg_record", default=None
)


@contextmanager
def recording() -> Iterator[None]:
    """Keep the penalties that are evaluated inside."""
    token = _record.set({})
    try:
        yield
    finally:
        _record.reset(token)


def record(source: object, penalty: Tensor) -> None:
    """Keep the penalty of `source`; the last one counts if there are two."""
    entries = _record.get()
    if entries is not None:
        entries[id(source)] = penalty


def is_recording() -> bool:
    """Whether a step of a bound model is being run."""
    return _record.get() is not None


def take_total(dtype: str) -> Tensor:
    """The sum of the penalties since the last time, as a scalar."""
    entries = _record.get()
    total = ops.zeros((), dtype)
    if entries is not None:
        for penalty in entries.values():
            total = total + ops.cast(penalty, dtype)
        entries.clear()
    return total
