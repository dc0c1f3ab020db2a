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
        """The `Multipliers` object that `penalty` is in, or None."""


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


class RunningStep:
    """One run of a training or test step on JAX, with its state.

    Args:
        model: the model.
        args: the arguments of the step: its state and the batch. The state has
            the values of the trainable variables first, then those of the
            others and, last, those of the metrics.
    """

    def __init__(self, model: keras.Model, args: tuple[State, Any]) -> None:
        self._given, self.data = args
        self.logs: Any = None
        self._variables: dict[int, list[keras.Variable]] = {
            0: model.trainable_variables,
            1: model.non_trainable_variables,
            len(self._given) - 1: model.metrics_variables,
        }
        self._enter(self._given)

    def _enter(self, state: State) -> None:
        self._state = state
        self._scope: Any = keras.StatelessScope(
            state_mapping=[
                pair
                for index, variables in self._variables.items()
                for pair in zip(variables, state[index], strict=False)
            ]
        )

    def scope(self) -> Any:
        """The scope in which variables have the values of the state."""
        return self._scope

    def run(self, step: Callable[..., Any]) -> None:
        """Run the step, and keep its logs and its new state."""
        self.logs, state = step(self._given, self.data)
        self._enter(state)

    def result(self, logs: Any) -> Any:
        """The step's return value: these logs, and the state of the scope."""
        # Keras accepts a step that returns only the first entries of its state.
        state = list(self._state)
        for index, variables in self._variables.items():
            returned = variables[: len(state[index])]
            state[index] = [self._scope.get_current_value(v) for v in returned]
        return logs, tuple(state)

    def update_watch(self) -> Callable[[keras.Variable], bool]:
        """Return a function that tells whether the step may update a weight."""

        def may_be_updated(variable: keras.Variable) -> bool:
            """Whether the step has returned another value than it was given."""
            return any(
                other is variable and old is not new
                for other, old, new in zip(
                    self._variables[0],
                    self._given[0],
                    self._state[0],
                    strict=False,
                )
            )

        return may_be_updated


def refuse_frozen_clock(
    penalty: StrengthRegularizer, path: str, w: Tensor
) -> None:
    """Raise if a traced function would be stuck at the step of its trace."""
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
