"""Hooks in the steps of a bound model: they set its clock and log its loss."""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras

from kreg._keras_private import (
    drop_carried_state,
    drop_saved_states,
    show_in_lists,
    unlist_metrics,
)
from kreg._types import Tensor
from kreg.binding._shadows import lift_shadows, shadow
from kreg.binding.binding import Binding
from kreg.binding.loss_parts import (
    LossParts,
    batch_size,
    is_recording,
    recording,
)
from kreg.regularizers.clock import Clock, clock_scope

StepClock = Callable[..., Clock]
Step = Callable[..., Any]


def install_hooks(
    model: keras.Model,
    binding: Binding,
    bind_weights: Callable[[keras.Model, Binding], bool],
) -> None:
    """Run the steps of `model` under its clock, and log the parts of the loss.

    The methods are replaced on the instance and call the originals, so that a
    subclass's own `train_step`, `test_step` and `compute_loss` go on working.
    `remove_hooks` undoes it.

    Args:
        model: the model.
        binding: its binding.
        bind_weights: binds the weights that are not bound yet. It is called
            again once the model is built, which may be in its first step.
    """
    train_clock: StepClock
    test_clock: StepClock
    if keras.backend.backend() == "jax":
        from kreg.binding import _jax

        train_clock, test_clock = _jax.install_clocks(model, binding)
    else:
        train_clock = test_clock = lambda *args: binding
    train_step, test_step = model.train_step, model.test_step

    def shadow_steps() -> None:
        shadow(model, "train_step", _clocked(train_step, train_clock))
        shadow(model, "test_step", _clocked(test_step, test_clock))

    def bind_late() -> None:
        bind_weights(model, binding)

    shadow_steps()
    if keras.backend.backend() == "jax":
        _jax.before_each_trace(model, shadow_steps, bind_late)
    with strategy_scope(model):
        parts = LossParts(model)
    shadow(model, "compute_loss", _logging_parts(model, parts, bind_late))


def remove_hooks(model: keras.Model) -> None:
    """Remove the methods, metrics and state that kreg added to `model`."""
    lift_shadows(model)
    unlist_metrics(model, LossParts)
    show_in_lists(model)
    drop_carried_state(model)
    drop_saved_states(model)


def _clocked(step: Step, clock: StepClock) -> Step:
    """Wrap `step` to run under the clock that `clock(*its arguments)` makes."""

    @functools.wraps(step)
    def clocked(*args: Any, **kwargs: Any) -> Any:
        with clock_scope(clock(*args)), recording():
            return step(*args, **kwargs)

    return clocked


def _logging_parts(
    model: keras.Model, parts: LossParts, bind_late: Callable[[], None]
) -> Callable[..., Tensor]:
    """Wrap `model.compute_loss` to log the parts of the loss it returns."""
    compute_loss = model.compute_loss
    signature = inspect.signature(compute_loss)
    is_first_call = True

    @functools.wraps(compute_loss)
    def log_parts(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal is_first_call
        if is_first_call and is_recording():
            is_first_call = False
            bind_late()
        loss = compute_loss(*args, **kwargs)
        if is_recording():
            arguments = signature.bind(*args, **kwargs).arguments
            samples = batch_size(arguments.get("x"), arguments.get("y_pred"))
            parts.add(model, loss, _replicas(), samples)
        return loss

    return log_parts


def strategy_scope(model: keras.Model) -> AbstractContextManager[Any]:
    """The scope in which variables of `model` must be created."""
    if keras.backend.backend() == "tensorflow":
        from kreg.binding import _tensorflow

        return _tensorflow.strategy_scope(model)
    return nullcontext()


def _replicas() -> int:
    if keras.backend.backend() == "tensorflow":
        from kreg.binding import _tensorflow

        return _tensorflow.replicas()
    return 1
