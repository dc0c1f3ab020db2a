"""`kreg.strip`: take everything of kreg off a model."""

from collections.abc import Iterator
from contextlib import ExitStack

import keras
from keras import ops
from keras.optimizers import LossScaleOptimizer

from kreg._keras_private import (
    flatten_layers,
    rate_of,
    replace_optimizer,
    set_rate,
)
from kreg.binding.binding import (
    PenaltyApplier,
    member_optimizers,
    own_regularizer,
    renew_functions,
)
from kreg.binding.bound_models import renew_models_of, unbind
from kreg.binding.hooks import strategy_scope
from kreg.surgery._changes import Change, Changes, replace
from kreg.surgery.owned_weights import attribute_for, owned_weights, path_of
from kreg.surgery.stripped_copy import (
    ATTRIBUTE_ENDINGS,
    compile_config_of,
    config_of,
    is_of_kreg,
    places_of_kreg,
)
from kreg.surgery.support import KeepSupport


def strip_optimizer(model: keras.Model, undo: ExitStack) -> Iterator[Change]:
    """Replace kreg's optimizer by its inner one, and kreg's schedules by rates.

    Args:
        model: a model, compiled or not.
        undo: closing it sets everything back.
    """
    before = getattr(model, "optimizer", None)
    if before is None:
        return
    after = before
    if isinstance(before, LossScaleOptimizer):
        inner = _without_applier(before.inner_optimizer)
        if inner is not before.inner_optimizer:
            yield _change(
                model, "inner_optimizer", before.inner_optimizer, inner
            )
            undo.callback(replace_optimizer, model, before)
            replace(before, "inner_optimizer", inner, undo)
            replace_optimizer(model, before)
    else:
        after = _without_applier(before)
        if after is not before:
            yield _change(model, "optimizer", before, after)
            undo.callback(replace_optimizer, model, before)
            replace_optimizer(model, after)
    if isinstance(after, LossScaleOptimizer):
        after = after.inner_optimizer
    for part in member_optimizers(after):
        schedule = rate_of(part)
        if is_of_kreg(schedule):
            rate = float(ops.convert_to_numpy(part.learning_rate))
            yield _change(model, "learning_rate", schedule, rate)
            undo.callback(set_rate, part, schedule)
            with strategy_scope(model):
                set_rate(part, rate)


def _without_applier(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.Optimizer:
    while isinstance(optimizer, PenaltyApplier):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _change(
    model: keras.Model, attribute: str, before: object, after: object
) -> Change:
    return Change(model.name, model.name, attribute, before, after)


def strip(model: keras.Model) -> Changes:
    """Take everything of kreg off a model, so that Keras alone can load it.

    It undoes `kreg.attach`, `kreg.bind` and `kreg.freeze_support`, and takes
    off kreg's objects that were given to constructors. The model is changed in
    place, and so are the models inside it:

    - kreg's regularizers are taken off weights and activities;
    - frozen supports are released: zeros may move again, and the weights have
      the constraints that they had before;
    - a `kreg.ProximalOptimizer` is replaced by its inner optimizer, which keeps
      its momenta and iterations, also inside a `LossScaleOptimizer`;
    - a schedule of kreg as a learning rate is replaced by the rate of the
      current step;
    - the model is no longer bound: `fit` logs no `penalty`.

    Weights, Keras's own regularizers and plain functions stay. Regularizers
    that `kreg.attach` once replaced do not come back. Train on without
    compiling again, or save: the file loads where kreg is not installed.

    Some objects are out of reach: in an attribute with another name than
    `..._regularizer`, in a list, inside a regularizer of your own, and a
    `kreg.ProximalOptimizer` that a `MultiOptimizer` chooses. If a config shows
    such an object, it is an error. In a subclassed model without a config the
    object remains.

    Args:
        model: a `keras.Model`, compiled or not.

    Returns:
        A `kreg.surgery.Changes` with what was taken off, empty if there was
        nothing. Print it for a table.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if an object of kreg is out of reach; the message names its
            layer. Nothing is changed then.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(
    ...     2, kernel_regularizer=kreg.L1(1e-4), name="last")], name="net")
    >>> model.compile(kreg.ProximalOptimizer("adam"), "mse")
    >>> print(kreg.strip(model))
    place            attribute           before             after
    ─────────────────────────────────────────────────────────────
    net/last/kernel  kernel_regularizer  L1(l1=0.0001)      -
    net              optimizer           ProximalOptimizer  Adam
    >>> type(model.optimizer).__name__
    'Adam'
    >>> print(kreg.strip(model))
    nothing to change
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})"
        )
    layers = flatten_layers(model)
    models = [layer for layer in layers if isinstance(layer, keras.Model)]
    variables = [weight.variable for weight in owned_weights(model)]
    with ExitStack() as undo:
        changes = [*_strip_weights(model, undo), *_strip_layers(layers, undo)]
        for part in models:
            changes += strip_optimizer(part, undo)
        _refuse_what_remains(layers)
        undo.pop_all()
    for part in models:
        if not unbind(part):
            renew_functions(part)
    renew_models_of(variables)
    return Changes(tuple(changes))


def _strip_weights(model: keras.Model, undo: ExitStack) -> Iterator[Change]:
    for weight in owned_weights(model):
        variable, layer = weight.variable, weight.layer
        regularizer = own_regularizer(variable)
        if is_of_kreg(regularizer):
            attribute = attribute_for(weight)
            if attribute and is_of_kreg(getattr(layer, attribute)):
                replace(layer, attribute, None, undo)
            else:
                attribute = None
            replace(variable, "regularizer", None, undo)
            yield Change(
                weight.path, weight.layer_path, attribute, regularizer, None
            )
        constraint = variable.constraint
        if isinstance(constraint, KeepSupport):
            own = constraint.constraint
            replace(variable, "constraint", own, undo)
            yield Change(weight.path, weight.layer_path, None, constraint, own)


def _strip_layers(
    layers: list[keras.layers.Layer], undo: ExitStack
) -> Iterator[Change]:
    """Strip attributes of layers without a weight, such as of activities."""
    for layer in layers:
        for attribute, value in list(vars(layer).items()):
            if attribute.endswith(ATTRIBUTE_ENDINGS) and is_of_kreg(value):
                replace(layer, attribute, None, undo)
                path = path_of(layer)
                yield Change(path, path, attribute, value, None)


def _refuse_what_remains(layers: list[keras.layers.Layer]) -> None:
    for layer in reversed(layers):  # the innermost layers first
        configs = [config_of(layer)]
        if isinstance(layer, keras.Model):
            configs.append(compile_config_of(layer))
        for place in places_of_kreg(configs):
            raise ValueError(
                "`model` must have kreg's objects where `kreg.strip` can take "
                "them off: in attributes named `..._regularizer`, and in the "
                f"optimizer. Received: `{path_of(layer)}` (of type "
                f"{type(layer).__name__}), whose config has one at "
                f"`{place.partition('.')[2] or place}`. Take it off by "
                "yourself"
            )
