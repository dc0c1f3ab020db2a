"""Schedules one after the other."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
from keras import ops

from kreg._arguments import positive_integer
from kreg._types import Tensor
from kreg.schedules._scalar import (
    ScalarSchedule,
    Schedule,
    evaluate,
    number_or_schedule,
    serialized,
)


@keras.saving.register_keras_serializable(package="kreg")
class Join(ScalarSchedule):
    """Runs schedules one after the other, each from its own step 0.

    Formula: `schedules[i](step - boundaries[i - 1])`, where `i` is the number
    of boundaries that are at or below `step`.

    Args:
        schedules: a sequence of at least one
            `keras.optimizers.schedules.LearningRateSchedule` or float >= 0.
        boundaries: a sequence of ints >= 1 in rising order, one fewer than
            `schedules`: the optimizer iteration at which the next one starts.

    Returns:
        When called with a step (int or scalar tensor), a scalar tensor; at a
        boundary it is the later schedule's value at 0.

    Raises:
        TypeError: if a schedule is neither a number nor a schedule, or a
            boundary not an int.
        ValueError: if there are not `len(boundaries) + 1` schedules, or the
            boundaries do not rise.

    Example:

    >>> import kreg
    >>> up = kreg.schedules.LinearRamp(0.0, 0.5, steps=100)
    >>> joined = kreg.schedules.Join([up, 0.5, 0.0], boundaries=[100, 300])
    >>> [float(joined(step)) for step in (0, 50, 100, 299, 300)]
    [0.0, 0.25, 0.5, 0.5, 0.0]
    """

    def __init__(
        self, schedules: Sequence[Schedule], boundaries: Sequence[int]
    ) -> None:
        if not isinstance(schedules, Sequence) or not isinstance(
            boundaries, Sequence
        ):
            raise TypeError(
                "`schedules` and `boundaries` must be lists. Received: "
                f"schedules={schedules!r}, boundaries={boundaries!r}"
            )
        self.schedules = [
            number_or_schedule(f"schedules[{i}]", schedule)
            for i, schedule in enumerate(schedules)
        ]
        self.boundaries = [
            positive_integer(f"boundaries[{i}]", boundary)
            for i, boundary in enumerate(boundaries)
        ]
        if len(self.schedules) != len(self.boundaries) + 1:
            raise ValueError(
                "`schedules` must hold one more entry than `boundaries`. "
                f"Received: {len(self.schedules)} schedules and "
                f"boundaries={self.boundaries}"
            )
        if any(later <= first for first, later in pairwise(self.boundaries)):
            raise ValueError(
                "`boundaries` must be in rising order. "
                f"Received: boundaries={self.boundaries}"
            )

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.convert_to_tensor(step)
        value = evaluate(self.schedules[0], step)
        for boundary, schedule in zip(
            self.boundaries, self.schedules[1:], strict=True
        ):
            later = evaluate(schedule, ops.maximum(step - boundary, 0))
            value = ops.where(step < boundary, value, later)
        return value

    def get_config(self) -> dict[str, Any]:
        return {
            "schedules": [serialized(schedule) for schedule in self.schedules],
            "boundaries": self.boundaries,
        }
