"""JAX's particulars: there, state is only what Keras passes through a step.

A training step receives the optimizer's variables, a test step does not, and
neither sees a variable that Keras does not carry. So training reads the clock
from the optimizer variables of its arguments; test steps read it from a
variable that Keras carries and that is set at the start of every evaluation;
multipliers are carried too.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import keras

from kreg._keras_private import carry_state
from kreg._types import Tensor
from kreg.binding._shadows import shadow
from kreg.regularizers.clock import Clock
from kreg.regularizers.strength_regularizer import StrengthRegularizer

State = Sequence[Sequence[Tensor]]


class ModelClock(Clock, Protocol):
    """What a step must know of the binding of its model."""

    def block(self, penalty: StrengthRegularizer) -> Any:
        """The variable that holds the multiplier of `penalty`, if any."""


class StateClock:
    """The clock of one step, read from the state that it was given."""

    def __init__(
        self, binding: ModelClock, step: Tensor, carried: dict[int, Tensor]
    ) -> None:
        self._binding = binding
        self._step = step
        self._carried = carried

    def step(self) -> Tensor:
        return self._step

    def multiplier(self, penalty: StrengthRegularizer) -> Tensor | float:
        block = self._binding.block(penalty)
        if block is None:
            return self._binding.multiplier(penalty)
        return block.read(penalty, self._carried[id(block.variable)])

    def is_clock_of(self, owner: Any) -> bool:
        return self._binding.is_clock_of(owner)

    def updating_binding(self, owner: Any) -> Any:
        return self._binding


def install_clocks(
    model: keras.Model, binding: ModelClock
) -> tuple[Callable[..., StateClock], Callable[..., StateClock]]:
    """Return what makes the clock of a training step and of a test step."""
    test_step = keras.Variable(
        0, dtype="int32", trainable=False, name="kreg_test_step"
    )
    carry_state(model, test_step)
    make_test_function = model.make_test_function

    @functools.wraps(make_test_function)
    def set_test_step(force: bool = False) -> Any:
        # A number, not the optimizer's buffer, which training steps donate.
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


def before_each_trace(
    model: keras.Model,
    shadow_steps: Callable[[], None],
    bind_late: Callable[[], None],
) -> None:
    """Prepare `model` whenever Keras is about to trace its steps.

    `jax.jit` remembers what it traced by the function object. So each compiled
    step needs a new one, or a model that was compiled anew would go on with
    the loss and the optimizer of before. And state that is created inside a
    trace is lost, so weights are bound here, where Keras has built the model.
    """

    def prepare() -> None:
        bind_late()
        shadow_steps()

    for kind in ("train", "test"):
        _before_tracing(model, kind, prepare)


def _before_tracing(
    model: keras.Model, kind: str, prepare: Callable[[], None]
) -> None:
    make = getattr(model, f"make_{kind}_function")

    @functools.wraps(make)
    def made(force: bool = False) -> Any:
        if force or getattr(model, f"{kind}_function") is None:
            prepare()
        return make(force=force)

    shadow(model, f"make_{kind}_function", made)


def refuse_frozen_clock(
    penalty: StrengthRegularizer, path: str, w: Tensor
) -> None:
    """Raise where a traced function would keep today's step for ever."""
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
