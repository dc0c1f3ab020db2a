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
from kreg.binding.binding import Binding, renew_functions
from kreg.binding.loss_parts import (
    LossParts,
    batch_size,
    is_recording,
    recording,
)
from kreg.binding.weights import has_schedules
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
            again whenever `fit` or `evaluate` begins, and once the model is
            built, which may be in its first step.
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
        trained = _clocked(train_step, train_clock, look_at_step)
        shadow(model, "train_step", trained)
        shadow(model, "test_step", _clocked(test_step, test_clock))

    def bind_late() -> bool:
        return bind_weights(model, binding)

    def look_at_step() -> None:
        # A traced step reads the clock of each weight before its first update,
        # which may show that another optimizer updates the weight.
        if binding.optimizers.look_at_built() and has_schedules(model):
            refuse_several_steps(model)
            renew_functions(model)

    def look_anew(kind: str) -> bool:
        is_new = bind_late()
        if kind == "train":
            binding.optimizers.begin_training()
        else:
            binding.optimizers.look()
        return is_new

    shadow_steps()
    for kind in ("train", "test"):
        _before_making(model, kind, look_anew, shadow_steps)
    compile_model = model.compile

    @functools.wraps(compile_model)
    def compile_and_look(*args: Any, **kwargs: Any) -> Any:
        result = compile_model(*args, **kwargs)
        binding.optimizers.look()
        return result

    shadow(model, "compile", compile_and_look)
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


def _clocked(
    step: Step, clock: StepClock, look: Callable[[], None] | None = None
) -> Step:
    """Wrap `step` to run under the clock that `clock(*its arguments)` makes.

    Args:
        step: the step.
        clock: makes the clock.
        look: called after the step. Defaults to `None`.
    """

    @functools.wraps(step)
    def clocked(*args: Any, **kwargs: Any) -> Any:
        with clock_scope(clock(*args)), recording():
            result = step(*args, **kwargs)
        if look is not None:
            look()
        return result

    return clocked


def refuse_several_steps(model: keras.Model) -> None:
    """Raise if steps would follow before the functions can be traced anew."""
    if model.steps_per_execution > 1 and not model.run_eagerly:
        raise ValueError(
            f"The `train_step` of `{model.name}` updates weights by optimizers "
            "that were not known before, so the schedules of their penalties "
            "would stand still in the first steps. Say which optimizer updates "
            "which part: `kreg.bind(model, {model.part: optimizer, ...})`. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )


def _before_making(
    model: keras.Model,
    kind: str,
    look_anew: Callable[[str], bool],
    shadow_steps: Callable[[], None],
) -> None:
    """Look at weights and optimizers whenever Keras asks for a step function.

    That is when `fit`, `evaluate` or `train_on_batch` begins. On JAX, `jax.jit`
    looks up what it has traced by the function object, so the steps are wrapped
    in new functions: otherwise a model that is compiled again would keep its
    former loss and optimizer.

    Args:
        model: the model.
        kind: `"train"` or `"test"`.
        look_anew: looks, and returns whether the steps must be traced anew.
        shadow_steps: wraps the steps of the model in new functions.
    """
    make = getattr(model, f"make_{kind}_function")

    @functools.wraps(make)
    def look_and_make(force: bool = False) -> Any:
        force = look_anew(kind) or force
        if force or getattr(model, f"{kind}_function") is None:
            shadow_steps()
        return make(force=force)

    shadow(model, f"make_{kind}_function", look_and_make)


def _logging_parts(
    model: keras.Model, parts: LossParts, bind_late: Callable[[], bool]
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
