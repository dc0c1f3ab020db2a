"""Hooks in the steps of a bound model: they set its clock and log its loss."""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras

from kreg._keras_private import (
    can_assign,
    carry_state,
    collected_losses,
    drop_carried_state,
    drop_saved_states,
    show_in_lists,
    unlist_metrics,
    unwatch_added_losses,
    watch_added_losses,
)
from kreg._types import Tensor
from kreg.binding._shadows import lift_shadows, shadow
from kreg.binding.binding import Binding, renew_functions
from kreg.binding.idle_penalties import (
    forget_training_steps,
    note_training_step,
)
from kreg.binding.loss_parts import (
    ACTIVITY_PENALTY,
    DATA_LOSS,
    PENALTY,
    LossParts,
    batch_size,
    forget_loss_parts,
)
from kreg.binding.running_step import RunningStep, Step
from kreg.binding.step_losses import (
    OwnStep,
    penalty_value,
    proximal_penalties,
    replicas,
    with_parts,
)
from kreg.binding.step_record import (
    current_record,
    record_added_losses,
    recording,
    total,
)
from kreg.binding.weights import has_schedules
from kreg.regularizers.clock import Clock, clock_scope

StepClock = Callable[..., Clock]


def install_hooks(
    model: keras.Model,
    binding: Binding,
    bind_weights: Callable[[keras.Model, Binding], bool],
) -> None:
    """Run the steps of `model` under its clock, and log the parts of the loss.

    The methods are replaced on the instance and call the originals, so a
    subclass's own `train_step`, `test_step` and `compute_loss` still work.
    `remove_hooks` undoes this.

    Args:
        model: the model.
        binding: its binding.
        bind_weights: binds the weights that are not bound yet. It is called
            whenever `fit` or `evaluate` begins, and once the model is built,
            which may be in its first step.
    """
    train_clock: StepClock
    test_clock: StepClock
    is_jax = keras.backend.backend() == "jax"
    if is_jax:
        from kreg.binding import _jax

        train_clock, test_clock = _jax.install_clocks(model, binding)
    else:
        train_clock = test_clock = lambda *args: binding
    train_step, test_step = model.train_step, model.test_step
    is_own = _is_own(train_step) or _is_own(test_step)
    with strategy_scope(model):
        parts = LossParts(model, are_added_to_logs=is_own)
    if is_jax and type(model).metrics is not keras.Model.metrics:
        # Keras passes to a step only the variables of listed metrics.
        for variable in parts.variables:
            carry_state(model, variable)

    def shadow_steps() -> None:
        for name, step, clock in (
            ("train_step", train_step, train_clock),
            ("test_step", test_step, test_clock),
        ):
            training = step is train_step
            logging_step = _logging_step(
                model,
                step,
                clock,
                parts,
                training=training,
                look=look_at_step if training else None,
            )
            shadow(model, name, logging_step)

    def bind_late() -> bool:
        is_new = bind_weights(model, binding)
        watch_added_losses(model, record_added_losses)
        return is_new

    def look_at_step() -> None:
        # A step is traced before its first update, and only that update may
        # show which optimizer updates a weight.
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
    shadow(model, "compute_loss", _logging_loss(model, parts, bind_late))
    shadow(model, "reset_metrics", _resetting(model, parts))
    watch_added_losses(model, record_added_losses)


def remove_hooks(model: keras.Model) -> None:
    """Remove the methods, metrics and state that kreg added to `model`."""
    lift_shadows(model)
    unwatch_added_losses(model)
    unlist_metrics(model, LossParts)
    forget_loss_parts(model)
    forget_training_steps(model)
    show_in_lists(model)
    drop_carried_state(model)
    drop_saved_states(model)


def _is_own(step: Step) -> bool:
    """Whether a step was written by the user."""
    function = getattr(step, "__func__", None)
    return function not in (keras.Model.train_step, keras.Model.test_step)


def _logging_step(
    model: keras.Model,
    step: Step,
    clock: StepClock,
    parts: LossParts,
    *,
    training: bool,
    look: Callable[[], None] | None,
) -> Step:
    """Wrap a step to run under its clock, and to log the parts of its loss.

    Args:
        model: the model.
        step: its training or test step, as Keras or the user defines it.
        clock: `clock(*arguments of the step)` makes the clock of the step.
        parts: the loss parts of the model.
        training: whether it is the training step.
        look: called after the step, or None.
    """
    is_own = _is_own(step)

    @functools.wraps(step)
    def logging_step(*args: Any) -> Any:
        with clock_scope(clock(*args)):
            running = _running_step(model, args)
            with running.scope():
                own = OwnStep(model, parts) if is_own else None
            may_be_updated = running.update_watch() if is_own else _always
            with recording(is_own=is_own) as record:
                running.run(step)
            with running.scope():
                if own is not None:
                    samples = batch_size(running.data)
                    own.count(running.logs, record, samples, training=training)
                logs = with_parts(running.logs, parts)
            if training:
                note_training_step(model, record, may_be_updated)
        if look is not None:
            look()
        return running.result(logs)

    return logging_step


def refuse_several_steps(model: keras.Model) -> None:
    """Raise if more steps would run before the functions can be retraced."""
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

    Keras does so when `fit`, `evaluate` or `train_on_batch` begins. The steps
    are then wrapped in new functions, because `jax.jit` caches traces by the
    function object: without that, a model that is compiled again would keep its
    former loss and optimizer.

    Args:
        model: the model.
        kind: `"train"` or `"test"`.
        look_anew: looks, and returns whether the steps must be retraced.
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


def _always(variable: keras.Variable) -> bool:
    return True


def _running_step(model: keras.Model, args: tuple[Any, ...]) -> Any:
    if keras.backend.backend() == "jax":
        from kreg.binding import _jax

        return _jax.RunningStep(model, args)
    return RunningStep(model, args)


def _resetting(model: keras.Model, parts: LossParts) -> Callable[[], None]:
    """Wrap `model.reset_metrics` to reset the loss parts, too."""
    reset_metrics = model.reset_metrics

    @functools.wraps(reset_metrics)
    def reset_all() -> None:
        reset_metrics()
        parts.reset_state()

    return reset_all


def _logging_loss(
    model: keras.Model, parts: LossParts, bind_late: Callable[[], bool]
) -> Callable[..., Tensor]:
    """Wrap `model.compute_loss` to log the parts of the loss it returns."""
    compute_loss = model.compute_loss
    signature = inspect.signature(compute_loss)
    is_first_call = True

    @functools.wraps(compute_loss)
    def logging_loss(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal is_first_call
        step = current_record()
        if step is None:
            return compute_loss(*args, **kwargs)
        if is_first_call:
            is_first_call = False
            bind_late()
        with collected_losses(model) as collected, recording() as record:
            loss = compute_loss(*args, **kwargs)
        if len(collected) and collected.were_read:
            record.add_reads(step)
        elif len(collected):
            step.forget_reads()
        step.add_reads(record)
        if loss is None:
            return loss
        arguments = signature.bind(*args, **kwargs).arguments
        samples = batch_size(arguments.get("x"), arguments.get("y_pred"))
        penalty, activity = record.penalty(), record.activity_penalty()
        data_loss = total([loss * replicas(), -penalty, -activity])
        if step.is_own and keras.backend.backend() != "jax":
            step.data_losses.append((data_loss, samples))
        elif can_assign(parts.variables[0]):
            others = proximal_penalties(model, record).values()
            values = {
                DATA_LOSS: data_loss,
                PENALTY: total([penalty, *map(penalty_value, others)]),
            }
            if record.added_losses:
                values[ACTIVITY_PENALTY] = activity
            parts.add(values, samples)
            step.is_counted = True
        return loss

    return logging_loss


def strategy_scope(model: keras.Model) -> AbstractContextManager[Any]:
    """The scope in which variables of `model` must be created."""
    if keras.backend.backend() == "tensorflow":
        from kreg.binding import _tensorflow

        return _tensorflow.strategy_scope(model)
    return nullcontext()
