"""What stands in `variable.regularizer` once a model is bound."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
from keras import ops

from kreg._keras_private import in_symbolic_scope
from kreg._types import Tensor
from kreg.binding._record import record
from kreg.regularizers import Penalty

if TYPE_CHECKING:
    from kreg.binding._binding import Binding


class BoundPenalty:
    """A kreg penalty on one variable, evaluated at its model's step.

    It reads the clock each time it is traced, so it is never stale. Under an
    optimizer that applies penalties by itself it reports the value and lets no
    gradient through, so that the penalty acts once.
    """

    def __init__(
        self, penalty: Penalty, variable: keras.Variable, binding: "Binding"
    ) -> None:
        self.penalty = penalty
        self.path: str = variable.path
        self.binding = binding

    def __call__(self, w: Tensor) -> Tensor:
        clock = self.binding.governing_clock()
        if clock is self.binding and not in_symbolic_scope():
            self.binding.check_own_clock(self, w)
        if clock.acting(self.binding).applier is not None:
            w = ops.stop_gradient(ops.convert_to_tensor(w))
        value = self.penalty.evaluate(
            w, clock.step(), clock.multiplier(self.penalty)
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
