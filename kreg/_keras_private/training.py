"""Losses, metrics, states of training steps, through Keras's private names."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree
from keras.src.backend.common.stateless_scope import (
    get_stateless_scope,
    in_stateless_scope,
)
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.trainers.compile_utils import MetricsList

from kreg._keras_private.layers import flatten_layers
from kreg._keras_private.saving import SAVED_STATES, save_with_weights


class LoggedMeans(MetricsList):
    """Means that `fit` logs; callbacks know that a smaller one is better.

    `EarlyStopping` looks for the metric that it monitors in Keras's own lists
    of metrics alone. There it reads the attribute `_direction`.

    Args:
        names: the name of each mean.
        name: the name of the list, which does not show in the logs.
    """

    def __init__(self, names: Iterable[str], name: str) -> None:
        super().__init__([keras.metrics.Mean(name=n) for n in names], name=name)
        for mean in self.metrics:
            mean._direction = "down"

    def result(self) -> dict[str, Any]:
        """The means by their names."""
        return {mean.name: mean.result() for mean in self.metrics}


def weight_of_loss(model: keras.Model) -> float | None:
    """The weight of the only loss of a compiled model; None if unknown."""
    given = getattr(model._compile_loss, "_user_loss_weights", None)
    weights = [1.0] if given is None else tree.flatten(given)
    return float(weights[0]) if len(weights) == 1 else None


def list_metric(model: keras.Model, metric: keras.metrics.Metric) -> None:
    """List `metric` among the metrics of a model that is already built.

    A built model refuses a metric that is set as an attribute, and an unbuilt
    one would save the metric's state with the weights.
    """
    model._metrics.append(metric)


def unlist_metrics(
    model: keras.Model, kind: type[keras.metrics.Metric]
) -> None:
    """Undo `list_metric` for all metrics of the class `kind`."""
    model._metrics[:] = [m for m in model._metrics if not isinstance(m, kind)]


@dataclass(frozen=True)
class CarriedState:
    """An object that Keras takes for a seed generator: it has a `state`."""

    state: keras.Variable


def carry_state(model: keras.Model, variable: keras.Variable) -> None:
    """Let Keras treat `variable` as state of the model that is not a weight.

    Variables of seed generators are such state. They are in
    `model.non_trainable_variables`, which Keras passes through JAX's train and
    test steps, and in `model.get_state_tree()`, but in no file of weights and
    no weight count. On TensorFlow `tf.train.Checkpoint` saves it too.
    """
    model._seed_generators.append(CarriedState(variable))
    if keras.backend.backend() == "tensorflow":
        # Not the variable of Keras, which would be tracked as a weight.
        model._track_trackable(variable.value, variable.name, overwrite=True)


def drop_carried_state(model: keras.Model) -> None:
    """Undo `carry_state` for all variables of `model`."""
    carried = [g for g in model._seed_generators if isinstance(g, CarriedState)]
    for generator in carried:
        model._seed_generators.remove(generator)
        if keras.backend.backend() == "tensorflow":
            model._delete_tracking(generator.state.name)


def is_stateless() -> bool:
    """Whether variables have no values now, as in a trace or symbolic call."""
    return in_stateless_scope() or in_symbolic_scope()


def make_state_current(model: keras.Model) -> None:
    """Write the state of the running epoch to the variables of `model`.

    On JAX, `fit` keeps this state elsewhere from batch to batch. Keras writes
    it to the variables, too, when a callback reads its attribute `model`.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


@contextmanager
def without_carried_state(model: keras.Model) -> Iterator[None]:
    """Let `model` carry no variables and save no states while a block runs."""
    before = list(model._seed_generators)
    states = vars(model).pop(SAVED_STATES, [])
    try:
        drop_carried_state(model)
        yield
    finally:
        model._seed_generators[:] = before
        if states:
            save_with_weights(model, states)


def hide_from_lists(model: keras.Model, names: Iterable[str]) -> None:
    """Leave `names` out of the lists that `evaluate` and others return.

    `loss, accuracy = model.evaluate(x, y)` goes on working. Dictionaries hold
    all names.
    """
    hidden = frozenset(names)
    flatten: Callable[[dict[str, Any]], Any] = model._flatten_metrics_in_order

    def flatten_shown(logs: dict[str, Any]) -> Any:
        return flatten({k: v for k, v in logs.items() if k not in hidden})

    model._flatten_metrics_in_order = flatten_shown


def show_in_lists(model: keras.Model) -> None:
    """Undo `hide_from_lists`."""
    if "_flatten_metrics_in_order" in vars(model):
        del model._flatten_metrics_in_order


def watch_added_losses(
    model: keras.Model, note: Callable[[Sequence[Any]], None]
) -> None:
    """Call `note` with the terms of `add_loss` when `losses` is read.

    This holds for the property `losses` of `model` and of the models inside it.
    The terms include those of activity regularizers.
    """
    for layer in flatten_layers(model):
        if isinstance(layer, keras.Model) and _OWN_LOSSES not in vars(layer):
            vars(layer)[_OWN_LOSSES] = _noting(layer, note)


def unwatch_added_losses(model: keras.Model) -> None:
    """Undo `watch_added_losses`."""
    for layer in flatten_layers(model):
        vars(layer).pop(_OWN_LOSSES, None)


_OWN_LOSSES = "_get_own_losses"


def _noting(
    model: keras.Model, note: Callable[[Sequence[Any]], None]
) -> Callable[[], list[Any]]:
    get_own_losses: Callable[[], list[Any]] = model._get_own_losses

    @functools.wraps(get_own_losses)
    def noting() -> list[Any]:
        own = get_own_losses()
        inner = model._flatten_layers(include_self=False)
        note(
            [
                *own,
                *(term for layer in inner for term in layer._get_own_losses()),
            ]
        )
        return own

    return noting


class CollectedLosses(list[Any]):
    """The losses of a call of a model, and whether `model.losses` was read.

    The property `losses` asks for the truth value of this list before it
    returns the list.
    """

    were_read = False

    def __bool__(self) -> bool:
        self.were_read = True
        return len(self) > 0


@contextmanager
def collected_losses(model: keras.Model) -> Iterator[CollectedLosses]:
    """The losses that Keras has collected in the last call of the model.

    On JAX, Keras collects them before `compute_loss`, which may then leave them
    out. On other backends the list is empty.
    """
    collected = model._losses_override
    losses = CollectedLosses(collected)
    if len(losses):
        vars(model)["_losses_override"] = losses
    try:
        yield losses
    finally:
        vars(model)["_losses_override"] = collected


def can_assign(variable: keras.Variable) -> bool:
    """Whether a value assigned to `variable` is kept.

    On JAX it is kept only by a running step that carries the variable.
    """
    if keras.backend.backend() != "jax":
        return True
    scope = get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is not None
