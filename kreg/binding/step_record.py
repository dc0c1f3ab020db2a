"""The record of a step: which penalties it reads, and which it applies."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from kreg._types import Tensor


@dataclass(frozen=True)
class PenaltyRead:
    """A penalty on a weight that a step has evaluated.

    Args:
        regularizer: the runtime object on the weight.
        value: its value, a scalar tensor.
        passes_gradient: whether the gradient of the loss contains its own.
    """

    regularizer: object
    value: Tensor
    passes_gradient: bool


@dataclass
class StepRecord:
    """What a step of a bound model has done so far; in a trace, what it does.

    Args:
        reads: the penalties on weights that it evaluated, by the `id` of the
            runtime object on the weight. A later value replaces an earlier one.
        applied: the runtime objects whose proximal step it took, by `id`.
        added_losses: the terms of `add_loss` that it read, by `id`. Those of
            activity regularizers are among them.
        is_own: whether the step is one that the user has written.
        data_losses: what `compute_loss` returned in a step of the user's own,
            without the penalties that it read, each with the number of samples.
        is_counted: whether `compute_loss` has added the parts of its loss to
            the means that `fit` logs.
    """

    reads: dict[int, PenaltyRead] = field(default_factory=dict)
    applied: dict[int, object] = field(default_factory=dict)
    added_losses: dict[int, Tensor] = field(default_factory=dict)
    is_own: bool = False
    data_losses: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    is_counted: bool = False

    def add_reads(self, other: "StepRecord") -> None:
        """Add what another record of this step has read."""
        self.reads.update(other.reads)
        self.added_losses.update(other.added_losses)

    def forget_reads(self) -> None:
        """Forget the values that were read, as the loss leaves them out."""
        self.reads.clear()
        self.added_losses.clear()

    def penalty(self) -> Tensor:
        """The sum of the penalties on weights that were read."""
        return total(read.value for read in self.reads.values())

    def activity_penalty(self) -> Tensor:
        """The sum of the terms of `add_loss` that were read."""
        return total(ops.sum(term) for term in self.added_losses.values())


def total(values: Iterable[Tensor]) -> Tensor:
    """The sum of scalars, without gradient, in at least single precision."""
    values = [ops.stop_gradient(ops.convert_to_tensor(v)) for v in values]
    dtype = keras.backend.result_type("float32", *(v.dtype for v in values))
    result = ops.zeros((), dtype)
    for value in values:
        result = result + ops.cast(value, dtype)
    return result


_current: ContextVar[StepRecord | None] = ContextVar(
    "kreg_step_record", default=None
)


def current_record() -> StepRecord | None:
    """The record of the step of a bound model that is running, if any."""
    return _current.get()


@contextmanager
def recording(*, is_own: bool = False) -> Iterator[StepRecord]:
    """Record what is evaluated and applied inside the block.

    Args:
        is_own: whether the step is one that the user has written.
    """
    record = StepRecord(is_own=is_own)
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)


@contextmanager
def not_recording() -> Iterator[None]:
    """Evaluate penalties without recording that a step reads them."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def record_read(
    regularizer: object, value: Tensor, *, passes_gradient: bool = True
) -> None:
    """Record that the penalty of a weight was evaluated."""
    record = _current.get()
    if record is not None:
        record.reads[id(regularizer)] = PenaltyRead(
            regularizer, value, passes_gradient
        )


def record_applied(regularizer: object) -> None:
    """Record that an optimizer takes the proximal step of a penalty."""
    record = _current.get()
    if record is not None:
        record.applied[id(regularizer)] = regularizer


def record_added_losses(terms: Sequence[Any]) -> None:
    """Record that terms of `add_loss` were read, each once."""
    record = _current.get()
    if record is not None:
        record.added_losses.update((id(term), term) for term in terms)
