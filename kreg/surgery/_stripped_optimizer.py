"""Optimizers of Keras in the place of kreg's, with the same state."""

from collections.abc import Iterator
from contextlib import ExitStack

import keras
from keras import ops
from keras.optimizers import LossScaleOptimizer, MultiOptimizer

from kreg._keras_private import rate_of, replace_optimizer, set_rate
from kreg.binding._applier import PenaltyApplier
from kreg.binding._hooks import strategy_scope
from kreg.surgery._changes import Change
from kreg.surgery._stripped_config import is_of_kreg
from kreg.surgery._undoing import replace


def strip_optimizer(model: keras.Model, undo: ExitStack) -> Iterator[Change]:
    """Give `model` the optimizer inside kreg's, and a rate for a schedule.

    Args:
        model: a model, compiled or not.
        undo: gets what sets everything back.
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
    for part in _parts(after):
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


def _parts(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.optimizers.Optimizer]:
    """The optimizers with a learning rate of their own."""
    if isinstance(optimizer, LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if isinstance(optimizer, MultiOptimizer):
        return list(optimizer.optimizers)
    return [optimizer]


def _change(
    model: keras.Model, attribute: str, before: object, after: object
) -> Change:
    return Change(model.name, model.name, attribute, before, after)
