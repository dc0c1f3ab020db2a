"""Variables, rates, gradients of optimizers, through Keras's private names."""

from collections.abc import Sequence
from typing import Any

import keras


def replace_optimizer(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> None:
    """Give a compiled model another optimizer, which is then saved with it.

    The model is not compiled again, because that would start its metrics anew.
    Keras saves the optimizer that was passed to `compile`; `model.optimizer`
    may be a `LossScaleOptimizer` that Keras has put around it.
    """
    model.optimizer = optimizer
    if not hasattr(model, "_compile_config"):
        return  # the attribute is the user's own
    config = model._compile_config.config
    wrapped_by_keras = not isinstance(
        config["optimizer"], keras.optimizers.LossScaleOptimizer
    ) and isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    config["optimizer"] = (
        optimizer.inner_optimizer if wrapped_by_keras else optimizer
    )


def rate_of(optimizer: keras.optimizers.Optimizer) -> Any:
    """The learning rate of `optimizer` as it keeps it: schedule or variable."""
    return optimizer._learning_rate


def set_rate(optimizer: keras.optimizers.Optimizer, rate: Any) -> None:
    """Give `optimizer` another learning rate in the place of its schedule.

    Args:
        optimizer: one with a schedule, or with a rate that `set_rate` set.
        rate: float, which is kept in a variable; or the earlier schedule, to
            put it back.
    """
    before = optimizer._learning_rate
    if isinstance(before, keras.Variable):
        optimizer._untrack_variable(before)
    if not isinstance(rate, float):
        optimizer._learning_rate = rate
        return
    variable = keras.Variable(
        rate,
        name="learning_rate",
        dtype=keras.config.floatx(),
        trainable=False,
        aggregation="only_first_replica",
    )
    locked = optimizer._tracker.locked
    optimizer._tracker.unlock()
    optimizer._track_variable(variable)
    optimizer._learning_rate = variable
    if locked:
        optimizer._tracker.lock()
    # Loading expects the order of a new optimizer: the iterations, the rate,
    # and the rest.
    optimizer._variables.insert(1, optimizer._variables.pop())


def gradient_count(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """The number of gradients, accumulated ones too, that `optimizer` got."""
    return optimizer._iterations


_OF_EVERY_OPTIMIZER = ("name", "built", "_lock", "_tracker", "_variables")


def drop_state(optimizer: keras.optimizers.Optimizer) -> None:
    """Delete the settings and variables that Keras's constructor has made.

    It is for a wrapper that looks up missing attributes in its inner optimizer.
    The wrapper then has the settings, iterations and learning rate of the inner
    one. It can still have variables of its own.
    """
    for variable in list(optimizer._variables):
        optimizer._untrack_variable(variable)
    for name in list(vars(optimizer)):
        # Names that begin with `_self_` are TensorFlow's record of the object.
        if name not in _OF_EVERY_OPTIMIZER and not name.startswith("_self_"):
            delattr(optimizer, name)
    if keras.backend.backend() == "tensorflow":
        # `tf.train.Checkpoint` refuses a list from which anything was removed.
        # The wrapper's own variables are saved as attributes of the wrapper.
        optimizer._delete_tracking("_variables")


def added_variables(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.Variable]:
    """The variables that `optimizer` made itself."""
    return list(optimizer._variables)


def slot(
    optimizer: keras.optimizers.Optimizer, name: str, variable: Any
) -> keras.Variable:
    """The entry for `variable` in the list `name` of `optimizer`."""
    return getattr(optimizer, name)[optimizer._get_variable_index(variable)]


def clipped_gradients(
    optimizer: keras.optimizers.Optimizer, grads: Sequence[Any]
) -> list[Any]:
    """The gradients as `optimizer` clips them before it uses them."""
    return list(optimizer._clip_gradients(grads))


def changed_gradient_method(
    optimizer: keras.optimizers.Optimizer, base: type
) -> str | None:
    """A method in which `optimizer`, unlike `base`, may change gradients.

    Returns:
        The name of a method that gradients pass on their way to `update_step`,
        if the optimizer or its class has one of its own; None if not.
    """
    for name in (
        "apply_gradients",
        "apply",
        "_backend_apply_gradients",
        "_clip_gradients",
    ):
        method = getattr(optimizer, name)
        if getattr(method, "__func__", method) is not getattr(base, name):
            return name
    return None


def built_variables(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.Variable]:
    """The variables that `optimizer` was built for."""
    return list(optimizer._trainable_variables)


def slots(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> list[keras.Variable]:
    """The variables of `optimizer` that remember each entry of `variable`.

    The list is empty if the optimizer was built without `variable`.
    """
    built_ids = [id(v) for v in optimizer._trainable_variables]
    if id(variable) not in built_ids:
        return []
    index = built_ids.index(id(variable))
    count = len(built_ids)
    remembered = []
    for name, value in vars(optimizer).items():
        if name == "_trainable_variables" or not isinstance(value, list):
            continue
        slot = value[index] if len(value) == count else None
        if isinstance(slot, keras.Variable) and slot.shape == variable.shape:
            remembered.append(slot)
    return remembered


def responsible_optimizer(
    optimizer: keras.optimizers.Optimizer, variable: Any
) -> keras.optimizers.Optimizer:
    """The member of a `MultiOptimizer` that updates `variable`.

    Any other optimizer is returned as it is, and so is a `MultiOptimizer` that
    was built without the variable.
    """
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        index = optimizer._var_to_optimizer_idx.get(
            optimizer._var_key(variable)
        )
        return optimizer if index is None else optimizer.optimizers[index]
    return optimizer


def chosen_optimizer(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> keras.optimizers.Optimizer:
    """The member of a `MultiOptimizer` that updates `variable`, built or not.

    Before the `MultiOptimizer` is built, its function that chooses a member is
    called. Any other optimizer is returned as it is.
    """
    if not isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return optimizer
    if optimizer.built:
        return responsible_optimizer(optimizer, variable)
    return optimizer._optimizer_map(variable)


def weight_decay_of(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> tuple[str, Any]:
    """The attribute by which `optimizer` decays `variable`, and its value.

    The optimizer's own method is not called, because it caches its result.
    """
    name = "weight_decay"
    if isinstance(optimizer, keras.optimizers.Muon) and (
        optimizer._should_use_adamw(variable)
    ):
        name = "adam_weight_decay"
    excluded = getattr(optimizer, "_exclude_from_weight_decay", ())
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    # On TensorFlow Keras matches the name of the `tf.Variable`, which differs
    # from the name of the Keras variable.
    named = variable.value if keras.backend.backend() == "tensorflow" else None
    text = getattr(named, "name", variable.name)
    if optimizer._var_key(variable) in excluded or (
        pattern is not None and pattern.search(text)
    ):
        return name, None
    return name, getattr(optimizer, name)
