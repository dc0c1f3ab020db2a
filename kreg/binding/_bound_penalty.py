"""What stands in `variable.regularizer` once a model is bound."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
from keras import ops

from kreg._keras_private import in_symbolic_scope
from kreg._types import Tensor
from kreg.binding._record import record
from kreg.regularizers import Penalty
from kreg.regularizers._layout import Layout
from kreg.regularizers._norms import summable_dtype

if TYPE_CHECKING:
    from kreg.binding._binding import Binding


class BoundPenalty:
    """A kreg penalty on one variable, evaluated at its model's step.

    It reads the clock each time it is traced, so it is never stale. Under an
    optimizer that applies penalties by itself it reports the value and lets no
    gradient through, so that the penalty acts once.

    Args:
        penalty: the user's own object.
        variable: the weight it acts on.
        binding: the binding of the weight's model.
        layout: what the weight's axes mean; None if no layer is known.
    """

    def __init__(
        self,
        penalty: Penalty,
        variable: keras.Variable,
        binding: "Binding",
        layout: Layout | None,
    ) -> None:
        self.penalty = penalty
        self.path: str = variable.path
        self.binding = binding
        self.suspended = False
        try:
            self.groups = penalty.grouping(tuple(variable.shape), layout)
        except ValueError as error:
            raise ValueError(f"On `{self.path}`: {error}") from None

    def strengths(self) -> dict[str, Tensor | float]:
        """The strengths at the step of the model that is running."""
        if self.suspended:
            return dict.fromkeys(self.penalty.strength_names(), 0.0)
        clock = self.binding.governing_clock()
        return self.penalty.strengths(
            clock.step(), clock.multiplier(self.penalty)
        )

    def __call__(self, w: Tensor) -> Tensor:
        if self.suspended:
            return ops.zeros((), summable_dtype(w))
        clock = self.binding.governing_clock()
        if clock is self.binding and not in_symbolic_scope():
            self.binding.check_own_clock(self, w)
        if clock.acting(self.binding).applier is not None:
            w = ops.stop_gradient(ops.convert_to_tensor(w))
        value = self.penalty.evaluate(
            w, clock.step(), clock.multiplier(self.penalty), self.groups
        )
        record(self, value)
        return value


class ObservedRegularizer:
    """A regularizer that is not kreg's, left as it is but for being seen."""

    def __init__(
        self, regularizer: Callable[[Tensor], Tensor], variable: keras.Variable
    ) -> None:
        self.penalty = regularizer
        self.path: str = variable.path

    def __call__(self, w: Tensor) -> Tensor:
        value = self.penalty(w)
        record(self, value)
        return value


def own_regularizer(
    variable: keras.Variable,
) -> Callable[[Tensor], Tensor] | None:
    """The regularizer that the user gave to `variable`, bound or not."""
    regularizer = variable.regularizer
    if isinstance(regularizer, (BoundPenalty, ObservedRegularizer)):
        return regularizer.penalty
    return regularizer


def is_suspended(variable: keras.Variable) -> bool:
    """Whether the penalty of `variable` counts as having strength 0."""
    regularizer = variable.regularizer
    return isinstance(regularizer, BoundPenalty) and regularizer.suspended


def governing_step(variable: keras.Variable, step: Tensor) -> Tensor:
    """The step of the optimizer that the penalty was bound with, or `step`."""
    regularizer = variable.regularizer
    if isinstance(regularizer, BoundPenalty) and (
        regularizer.binding.own_optimizer is not None
    ):
        return regularizer.binding.step()
    return step
