"""Everything that kreg takes from Keras below its public names.

Each has a test in `tests/test_keras_private.py` that fails when Keras moves it.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope as in_symbolic_scope,
)
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell
from keras.src.saving.serialization_lib import SafeModeScope
from keras.src.trainers.compile_utils import MetricsList


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer or model and every layer in it, however deep, each once.

    In the order of `layer.weights`: each layer before those inside it, and
    these before what follows it. Keras's own list has the layers of a nested
    model from the last to the first.
    """
    ordered: dict[int, keras.layers.Layer] = {}
    pending = [layer]
    while pending:
        following = pending.pop()
        if id(following) not in ordered:
            ordered[id(following)] = following
            pending += reversed(own_layers(following))
    return list(ordered.values())


def own_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that `layer` itself holds, without those inside them."""
    layers: list[keras.layers.Layer] = list(
        layer._flatten_layers(include_self=False, recursive=False)
    )
    return layers


class LoggedMeans(MetricsList):
    """Means that `fit` logs and for which callbacks know that less is better.

    `EarlyStopping` and others look for the direction of what they monitor only
    in Keras's own lists of metrics, and there only at `_direction`.

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


def list_metric(model: keras.Model, metric: keras.metrics.Metric) -> None:
    """List `metric` among the metrics of a model that is already built.

    Setting it as an attribute would be refused then, and would save its state
    with the weights.
    """
    model._metrics.append(metric)


def unlist_metrics(
    model: keras.Model, kind: type[keras.metrics.Metric]
) -> None:
    """Undo `list_metric` for all metrics of a kind."""
    model._metrics[:] = [m for m in model._metrics if not isinstance(m, kind)]


@dataclass(frozen=True)
class CarriedState:
    """What Keras takes for a seed generator: it has a `state`."""

    state: keras.Variable


def carry_state(model: keras.Model, variable: keras.Variable) -> None:
    """Let Keras pass `variable` through JAX's train and test steps.

    Variables of seed generators are state that is not a weight: they are in
    `model.non_trainable_variables`, but in no file and no weight count.
    """
    model._seed_generators.append(CarriedState(variable))


def drop_carried_state(model: keras.Model) -> None:
    """Undo `carry_state` for all variables of `model`."""
    model._seed_generators[:] = [
        generator
        for generator in model._seed_generators
        if not isinstance(generator, CarriedState)
    ]


def hide_from_lists(model: keras.Model, names: Iterable[str]) -> None:
    """Leave `names` out of the lists that `evaluate` and others return.

    So `loss, accuracy = model.evaluate(x, y)` goes on working; dictionaries
    hold all.
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


def replace_optimizer(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> None:
    """Give a compiled model another optimizer, and save that one.

    Without compiling again, which would start its metrics anew. Keras saves
    what `compile` was given, which it may have wrapped to scale the loss.
    """
    model.optimizer = optimizer
    given = model._compile_config.config
    wrapped = not isinstance(
        given["optimizer"], keras.optimizers.LossScaleOptimizer
    ) and isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    given["optimizer"] = optimizer.inner_optimizer if wrapped else optimizer


def rate_of(optimizer: keras.optimizers.Optimizer) -> Any:
    """The learning rate that `optimizer` was given: schedule or variable."""
    return optimizer._learning_rate


def set_rate(optimizer: keras.optimizers.Optimizer, rate: Any) -> None:
    """Give `optimizer` another learning rate in the place of its schedule.

    Args:
        optimizer: one with a schedule, or a rate that was set here.
        rate: float, a number to keep in a variable, where a loaded optimizer
            expects it; or the schedule that was there before.
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
    # As in a new optimizer: the iterations, the rate, and the rest.
    optimizer._variables.insert(1, optimizer._variables.pop())


def slot(
    optimizer: keras.optimizers.Optimizer, name: str, variable: Any
) -> keras.Variable:
    """What `optimizer` remembers of `variable` in its list `name`."""
    return getattr(optimizer, name)[optimizer._get_variable_index(variable)]


def clipped_gradients(
    optimizer: keras.optimizers.Optimizer, grads: Sequence[Any]
) -> list[Any]:
    """The gradients as `optimizer` clips them before it uses them."""
    return list(optimizer._clip_gradients(grads))


def known_variables(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.Variable]:
    """The variables that `optimizer` was built for."""
    return list(optimizer._trainable_variables)


def own_trainable_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights that `layer` made itself and can train, if frozen too."""
    return list(layer._trainable_variables)


def slots(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> list[keras.Variable]:
    """All that `optimizer` remembers of each entry of `variable`.

    Nothing if it was built without it.
    """
    known = [id(v) for v in optimizer._trainable_variables]
    if id(variable) not in known:
        return []
    index = known.index(id(variable))
    count = len(optimizer._trainable_variables)
    found = []
    for name, value in vars(optimizer).items():
        if name == "_trainable_variables" or not isinstance(value, list):
            continue
        slot = value[index] if len(value) == count else None
        if isinstance(slot, keras.Variable) and slot.shape == variable.shape:
            found.append(slot)
    return found


def responsible_optimizer(
    optimizer: keras.optimizers.Optimizer, variable: Any
) -> keras.optimizers.Optimizer:
    """The one of a `MultiOptimizer` that updates `variable`; else itself.

    Itself too if it was built without the variable.
    """
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        index = optimizer._var_to_optimizer_idx.get(
            optimizer._var_key(variable)
        )
        return optimizer if index is None else optimizer.optimizers[index]
    return optimizer


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables that `layer` made itself, trained or not."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def chosen_optimizer(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> keras.optimizers.Optimizer:
    """The one of a `MultiOptimizer` that updates `variable`, now or once built.

    Itself if it is of another kind. Before it is built, its own function is
    asked.
    """
    if not isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return optimizer
    if optimizer.built:
        return responsible_optimizer(optimizer, variable)
    return optimizer._optimizer_map(variable)


def weight_decay_of(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> tuple[str, Any]:
    """By what attribute, and how much, `optimizer` decays `variable`.

    Asked without its own method, which would keep the answer.
    """
    name = "weight_decay"
    if isinstance(optimizer, keras.optimizers.Muon) and (
        optimizer._should_use_adamw(variable)
    ):
        name = "adam_weight_decay"
    excluded = getattr(optimizer, "_exclude_from_weight_decay", ())
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    # TensorFlow's own variables, which Keras matches there, have other names.
    named = variable.value if keras.backend.backend() == "tensorflow" else None
    text = getattr(named, "name", variable.name)
    if optimizer._var_key(variable) in excluded or (
        pattern is not None and pattern.search(text)
    ):
        return name, None
    return name, getattr(optimizer, name)


@dataclass(frozen=True)
class Graph:
    """What calls what inside a model.

    Args:
        nodes: its calls in the order of execution, each with `operation`,
            `input_tensors`, `output_tensors` and what it was called with,
            `arguments.args` and `arguments.kwargs`.
        inputs: the symbolic tensors that enter it.
        outputs: those that leave it.
    """

    nodes: tuple[Any, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def graph_of(layer: keras.layers.Layer) -> Graph | None:
    """The graph of a `Sequential` or functional model; None without one.

    None, too, for a subclass that computes in a `call` of its own.
    """
    module = getattr(type(layer).call, "__module__", None) or ""
    if module.split(".")[0] != "keras":
        return None
    function = getattr(layer, "_functional", layer)
    by_depth = getattr(function, "_nodes_by_depth", None)
    if not isinstance(layer, keras.Model) or by_depth is None:
        return None
    return Graph(
        tuple(
            node
            for depth in sorted(by_depth, reverse=True)
            for node in by_depth[depth]
        ),
        tuple(function.inputs),
        tuple(function.outputs),
    )


def run_graph(
    model: keras.Model, inputs: Any, operation: Callable[[Any], Any]
) -> Any:
    """The outputs of a functional model, with other operations in place.

    Args:
        model: a functional model.
        inputs: its new inputs, in the structure of `model.input`.
        operation: tells what to call in the place of an operation.
    """
    return model._run_through_graph(inputs, operation_fn=operation)


def trusting() -> AbstractContextManager[Any]:
    """The scope in which Keras makes Python lambdas from configs."""
    return SafeModeScope(safe_mode=False)


def operation_kind(operation: Any) -> str | None:
    """The name of a `keras.ops` function's operation; None for layers."""
    cls = type(operation)
    if isinstance(operation, keras.layers.Layer):
        return None
    return cls.__name__ if cls.__module__.startswith("keras.src.ops.") else None
