"""Taking kreg's objects off a model: for good, or while a block runs."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras import ops
from keras.optimizers import LossScaleOptimizer

from kreg._keras_private import (
    flatten_layers,
    rate_of,
    replace_optimizer,
    set_rate,
    without_carried_state,
)
from kreg.binding.attached import forget_attached, is_recorded
from kreg.binding.binding import (
    PenaltyApplier,
    member_optimizers,
    own_regularizer,
    penalty_applier,
)
from kreg.binding.hooks import strategy_scope
from kreg.layers.weights import path_of
from kreg.surgery._changes import Change, replace
from kreg.surgery.owned_weights import attribute_for, owned_weights
from kreg.surgery.stripped_copy import ATTRIBUTE_ENDINGS, is_of_kreg
from kreg.surgery.support import KeepSupport


@contextmanager
def set_aside(model: keras.Model) -> Iterator[None]:
    """Take kreg's penalties and constraints off a model while a block runs.

    However the block ends, the model is then as before. Its optimizers stay.
    """
    with ExitStack() as undo:
        strip_layers(model, undo)
        for part in models_in(model):
            undo.enter_context(without_carried_state(part))
        yield


@contextmanager
def uncompiled(model: keras.Model) -> Iterator[None]:
    """Let a model and those inside it be uncompiled while a block runs."""
    with ExitStack() as undo:
        for part in models_in(model):
            for attribute, value in (("compiled", False), ("optimizer", None)):
                if attribute in vars(part):
                    replace(part, attribute, value, undo)
        yield


def models_in(model: keras.Model) -> list[keras.Model]:
    """The model and the models inside it, however deep."""
    return [p for p in flatten_layers(model) if isinstance(p, keras.Model)]


def strip_layers(model: keras.Model, undo: ExitStack) -> list[Change]:
    """Take kreg's regularizers and constraints off weights and layers.

    Args:
        model: a model.
        undo: closing it sets everything back.
    """
    changes = [*_strip_weights(model, undo)]
    for variable in model.weights:
        forget_attached(variable, undo)
    for layer in flatten_layers(model):
        for attribute, value in list(vars(layer).items()):
            if attribute.endswith(ATTRIBUTE_ENDINGS) and is_of_kreg(value):
                replace(layer, attribute, None, undo)
                path = path_of(layer)
                changes.append(Change(path, path, attribute, value, None))
    return changes


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
            in_file = attribute is None and is_recorded(variable)
            replace(variable, "regularizer", None, undo)
            yield Change(
                weight.path,
                weight.layer_path,
                attribute,
                regularizer,
                None,
                in_file=in_file,
            )
        constraint = variable.constraint
        if isinstance(constraint, KeepSupport):
            own = constraint.constraint
            replace(variable, "constraint", own, undo)
            yield Change(weight.path, weight.layer_path, None, constraint, own)


def strip_optimizers(model: keras.Model, undo: ExitStack) -> list[Change]:
    """Replace kreg's optimizers by their inner ones, and schedules by rates.

    This holds for the optimizers that models are compiled with, and for those
    in attributes of the model and its layers, also in lists, tuples and dicts.

    Args:
        model: a model, compiled or not.
        undo: closing it sets everything back.
    """
    changes: list[Change] = []
    for layer in flatten_layers(model):
        stripper = _OptimizerStripper(model, layer, changes, undo)
        if isinstance(layer, keras.Model) and penalty_applier(
            getattr(layer, "optimizer", None)
        ):
            before = layer.optimizer
            undo.callback(replace_optimizer, layer, before)
            after = stripper.without_kreg(before, "optimizer")
            replace_optimizer(layer, after)
        for attribute, value in list(vars(layer).items()):
            # TensorFlow keeps a second list of the objects in attributes.
            if not attribute.startswith("_self_"):
                after = stripper.without_kreg(value, attribute)
                if after is not value:
                    replace(layer, attribute, after, undo)
    return changes


class _OptimizerStripper:
    """Strips the optimizers that one layer holds.

    Args:
        model: the model that is stripped.
        layer: the layer, which may be the model.
        changes: where the changes are noted.
        undo: closing it sets everything back.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: keras.layers.Layer,
        changes: list[Change],
        undo: ExitStack,
    ) -> None:
        self._model, self._layer = model, layer
        self._changes, self._undo = changes, undo
        self._containers: set[int] = set()

    def without_kreg(self, value: Any, place: str) -> Any:
        """The replacement for `value`; lists and dicts are changed in place."""
        if isinstance(value, keras.optimizers.Optimizer):
            return self._optimizer(value, place)
        if isinstance(value, tuple):
            parts = [
                self.without_kreg(part, f"{place}[{index}]")
                for index, part in enumerate(value)
            ]
            if all(a is b for a, b in zip(parts, value, strict=True)):
                return value
            is_named = hasattr(value, "_fields")
            return value._make(parts) if is_named else tuple(parts)  # type: ignore[attr-defined]
        if isinstance(value, dict):
            self._change_items(value, value.items(), place)
        elif isinstance(value, list):
            self._change_items(value, enumerate(value), place)
        return value

    def _change_items(
        self,
        container: dict[Any, Any] | list[Any],
        items: Iterable[tuple[Any, Any]],
        place: str,
    ) -> None:
        if id(container) in self._containers:
            return
        self._containers.add(id(container))
        for key, part in list(items):
            after = self.without_kreg(part, f"{place}[{key!r}]")
            if after is not part:
                self._undo.callback(container.__setitem__, key, part)
                container[key] = after

    def _optimizer(
        self, optimizer: keras.optimizers.Optimizer, place: str
    ) -> keras.optimizers.Optimizer:
        if isinstance(optimizer, LossScaleOptimizer):
            inner = optimizer.inner_optimizer
            after = self._optimizer(inner, "inner_optimizer")
            if after is not inner:
                replace(optimizer, "inner_optimizer", after, self._undo)
            return optimizer
        after = optimizer
        while isinstance(after, PenaltyApplier):
            after = after.inner_optimizer
        if after is not optimizer:
            self._note(place, optimizer, after)
        for part in member_optimizers(after):
            schedule = rate_of(part)
            if is_of_kreg(schedule):
                rate = float(ops.convert_to_numpy(part.learning_rate))
                self._note("learning_rate", schedule, rate)
                self._undo.callback(set_rate, part, schedule)
                with strategy_scope(self._model):
                    set_rate(part, rate)
        return after

    def _note(self, place: str, before: Any, after: Any) -> None:
        is_model = isinstance(self._layer, keras.Model)
        path = self._layer.name if is_model else path_of(self._layer)
        self._changes.append(Change(path, path, place, before, after))
