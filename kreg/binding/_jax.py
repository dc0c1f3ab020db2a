"""The clocks of JAX, where a step sees only the state that Keras passes in.

Keras passes the optimizer's variables to a training step but not to a test
step, and passes no other variable unless it is carried (`carry_state`). So a
training step reads the clock from the optimizer's variables. A test step reads
it from a carried variable, which is set at the start of every evaluation.
Multipliers are carried too.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import keras

from kreg._keras_private import carry_state
from kreg._types import Tensor
from kreg.binding._shadows import shadow
from kreg.binding.weight_optimizers import WeightOptimizers
from kreg.regularizers.clock import Clock
from kreg.regularizers.strength_regularizer import StrengthRegularizer

State = Sequence[Sequence[Tensor]]


class ModelClock(Clock, Protocol):
    """The clock of a model, as `Binding` implements it."""

    optimizers: WeightOptimizers

    def multipliers_with(self, penalty: StrengthRegularizer) -> Any:
        """The `Multipliers` that hold the one of `penalty`, or None."""


class StateClock:
    """The clock of one step, read from the state that Keras passes to it.

    Args:
        binding: the binding of the model.
        step: the optimizer iteration.
        carried: the value of each carried variable, by the variable's `id`.
    """

    def __init__(
        self, binding: ModelClock, step: Tensor, carried: dict[int, Tensor]
    ) -> None:
        self._binding = binding
        self._step = step
        self._carried = carried

    def step(self) -> Tensor:
        return self._step

    def multiplier(self, penalty: StrengthRegularizer) -> Tensor | float:
        multipliers = self._binding.multipliers_with(penalty)
        if multipliers is None:
            return self._binding.multiplier(penalty)
        vector = self._carried[id(multipliers.variable)]
        return multipliers.read(penalty, vector)

    def has(self, bound: Any) -> bool:
        return self._binding.has(bound)

    def step_of(self, bound: Any) -> Tensor:
        if self.is_constant(bound):
            return self._binding.step_of(bound)
        return self._step

    def optimizer_of(self, bound: Any) -> Any:
        return self._binding.optimizer_of(bound)

    def is_constant(self, bound: Any) -> bool:
        own = self._binding.optimizers.own
        return self.optimizer_of(bound) not in (None, own)


def install_clocks(
    model: keras.Model, binding: ModelClock
) -> tuple[Callable[..., StateClock], Callable[..., StateClock]]:
    """Return two functions that make the clocks of training and test steps."""
    with keras.name_scope(model.name):
        test_step = keras.Variable(
            0, dtype="int32", trainable=False, name="kreg_test_step"
        )
    carry_state(model, test_step)
    make_test_function = model.make_test_function

    @functools.wraps(make_test_function)
    def set_test_step(force: bool = False) -> Any:
        # Copied as a number: a training step donates the buffer of the counter.
        test_step.assign(int(keras.ops.convert_to_numpy(binding.step())))
        return make_test_function(force=force)

    shadow(model, "make_test_function", set_test_step)

    def carried(state: State) -> dict[int, Tensor]:
        variables = model.non_trainable_variables
        return {
            id(variable): value
            for variable, value in zip(variables, state[1], strict=True)
        }

    def train_clock(state: State, data: Any) -> StateClock:
        optimizer = model.optimizer
        values = zip(optimizer.variables, state[2], strict=True)
        with keras.StatelessScope(state_mapping=list(values)):
            iterations = keras.ops.convert_to_tensor(optimizer.iterations)
        return StateClock(binding, iterations, carried(state))

    def test_clock(state: State, data: Any) -> StateClock:
        values = carried(state)
        return StateClock(binding, values[id(test_step)], values)

    return train_clock, test_clock


def refuse_frozen_clock(
    penalty: StrengthRegularizer, path: str, w: Tensor
) -> None:
    """Raise if a traced function would keep the step of its trace for ever."""
    if penalty.is_scheduled and isinstance(w, jax.core.Tracer):
        raise ValueError(
            f"The penalty {penalty!r} of `{path}` follows a schedule, but "
            "inside a function that JAX traces kreg cannot know the step. For "
            "`fit`, call `kreg.bind(model)` or pass a kreg callback. In a loop "
            "of your own, wrap the call of the model in "
            "`with kreg.binding.at_step(step):`, where `step` is the entry of "
            "`optimizer_variables` that belongs to `optimizer.iterations`. "
            "Received: no step"
        )
