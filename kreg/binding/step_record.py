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
    """The penalty of a weight, as a step has evaluated it.

    Args:
        regularizer: the runtime object on the weight.
        value: the penalty, a scalar tensor.
        passes_gradient: whether the penalty is part of the loss's gradient.
    """

    regularizer: object
    value: Tensor
    passes_gradient: bool


@dataclass
class StepRecord:
    """The penalties that a step of a bound model has evaluated and applied.

    In a traced step, the values are symbolic.

    Args:
        reads: the penalties on weights that the step evaluated, by the `id` of
            the runtime object on the weight. A later value replaces an earlier
            one.
        applied: the runtime objects whose proximal step was taken, by `id`.
        added_losses: the terms of `add_loss` that the step read, by `id`,
            including those of activity regularizers.
        is_own: whether the step was written by the user.
        data_losses: the results of `compute_loss` in a step written by the
            user, without the penalties that it read, each with the number of
            samples.
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
        """Add the penalties read in another record of this step."""
        self.reads.update(other.reads)
        self.added_losses.update(other.added_losses)

    def forget_reads(self) -> None:
        """Discard the values that were read but are not in the loss."""
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
    """The record of the running step of a bound model, if there is one."""
    return _current.get()


@contextmanager
def recording(*, is_own: bool = False) -> Iterator[StepRecord]:
    """Record the penalties evaluated and applied inside the block.

    Args:
        is_own: whether the step was written by the user.
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
