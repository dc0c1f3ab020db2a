"""Everything that kreg takes from Keras below its public names.

Each function has a test in `tests/test_keras_private.py`, which fails when
Keras changes what the function relies on.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import (
    get_stateless_scope,
    in_stateless_scope,
)
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope as in_symbolic_scope,
)
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.saving.serialization_lib import SafeModeScope
from keras.src.trainers.compile_utils import MetricsList


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer or model and every layer in it, however deep, each once.

    The order is that of `layer.weights`: a layer comes before the layers inside
    it, and these come before the next layer. Keras's own list has the layers of
    a nested model from the last to the first.
    """
    ordered: dict[int, keras.layers.Layer] = {}
    pending = [layer]
    while pending:
        visited = pending.pop()
        if id(visited) not in ordered:
            ordered[id(visited)] = visited
            pending += reversed(own_layers(visited))
    return list(ordered.values())


def own_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that `layer` itself holds, without those inside them."""
    layers: list[keras.layers.Layer] = list(
        layer._flatten_layers(include_self=False, recursive=False)
    )
    return layers


class LoggedMeans(MetricsList):
    """Means that `fit` logs; callbacks know that a smaller one is better.

    `EarlyStopping` looks up the direction of what it monitors in Keras's own
    lists of metrics alone, and reads there the attribute `_direction`.

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


class SavedState(KerasSaveable):
    """A part of a layer or model whose state Keras saves with its weights.

    A subclass defines `save_own_variables` and `load_own_variables`, as layers
    do. Keras finds the object where it is an attribute of a layer, or in the
    list of `save_with_weights`.
    """

    def _obj_type(self) -> str:
        # Of its attributes, Keras does not search those that a loss has.
        return "Loss"


# Keras visits the attributes of a model in the order of their names, and this
# one last. So a state that is also an attribute of a layer is saved there.
_SAVED_STATES = "~kreg_saved_states"


def save_with_weights(model: keras.Model, states: Iterable[SavedState]) -> None:
    """Let Keras save `states` with the weights of `model`.

    A model without them ignores what the file has of them. A file that lacks
    them leaves them as they are.
    """
    vars(model).setdefault(_SAVED_STATES, []).extend(states)


def drop_saved_states(model: keras.Model) -> None:
    """Undo `save_with_weights`."""
    vars(model).pop(_SAVED_STATES, None)


def is_stateless() -> bool:
    """Whether variables have no values now: in a trace, or symbolically."""
    return in_stateless_scope() or in_symbolic_scope()


def make_state_current(model: keras.Model) -> None:
    """Write the state of the running epoch to the variables of `model`.

    On JAX, `fit` keeps it elsewhere from batch to batch. Keras does the same
    where a callback asks for its model.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


@contextmanager
def without_carried_state(model: keras.Model) -> Iterator[None]:
    """Let `model` carry no variables while a block runs."""
    before = list(model._seed_generators)
    try:
        drop_carried_state(model)
        yield
    finally:
        model._seed_generators[:] = before


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

    That is the property of `model` or of a model inside it. Terms of activity
    regularizers are among them.
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

    The property asks for the truth value of this list before it returns it.
    """

    were_read = False

    def __bool__(self) -> bool:
        self.were_read = True
        return len(self) > 0


@contextmanager
def collected_losses(model: keras.Model) -> Iterator[CollectedLosses]:
    """The losses that Keras has collected in the last call of the model.

    On JAX it does so before `compute_loss`, which may then leave them out. The
    list is empty on other backends.
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
    """Whether a new value of `variable` is kept; on JAX, by a running step."""
    if keras.backend.backend() != "jax":
        return True
    scope = get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is not None


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


_OF_EVERY_OPTIMIZER = ("name", "built", "_lock", "_tracker", "_variables")


def drop_state(optimizer: keras.optimizers.Optimizer) -> None:
    """Delete the settings and variables that Keras's constructor has made.

    A wrapper that looks up what it lacks in the optimizer inside it then has
    that one's settings, iterations and learning rate. It can still have
    variables of its own.
    """
    for variable in list(optimizer._variables):
        optimizer._untrack_variable(variable)
    for name in list(vars(optimizer)):
        # What begins with `_self_` is TensorFlow's record of the object.
        if name not in _OF_EVERY_OPTIMIZER and not name.startswith("_self_"):
            delattr(optimizer, name)
    if keras.backend.backend() == "tensorflow":
        # `tf.train.Checkpoint` refuses a list from which anything was removed.
        # Variables of its own are saved where the wrapper keeps them.
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


def own_trainable_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights that `layer` made itself and can train, frozen or not."""
    return list(layer._trainable_variables)


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


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables that `layer` made itself, trained or not."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def chosen_optimizer(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> keras.optimizers.Optimizer:
    """The member of a `MultiOptimizer` that updates `variable`, built or not.

    Before it is built, its function that chooses a member is called. Any other
    optimizer is returned as it is.
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


@dataclass(frozen=True)
class Graph:
    """The calls of layers and operations inside a model.

    Args:
        nodes: the calls in the order of execution. Each has `operation`,
            `input_tensors`, `output_tensors`, `arguments.args` and
            `arguments.kwargs`.
        inputs: the symbolic tensors that enter the model.
        outputs: the symbolic tensors that leave it.
    """

    nodes: tuple[Any, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def graph_of(layer: keras.layers.Layer) -> Graph | None:
    """The graph of a `Sequential` or functional model.

    A layer has none, and neither has a subclass that defines its own `call`:
    None for both.
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
        operation: returns what to call in the place of an operation.
    """
    return model._run_through_graph(inputs, operation_fn=operation)


def trusting() -> AbstractContextManager[Any]:
    """The scope in which Keras loads Python lambdas from configs."""
    return SafeModeScope(safe_mode=False)


def operation_kind(operation: Any) -> str | None:
    """The class name of an operation of `keras.ops`; None for a layer."""
    cls = type(operation)
    if isinstance(operation, keras.layers.Layer):
        return None
    return cls.__name__ if cls.__module__.startswith("keras.src.ops.") else None


def dequantized(
    layer: keras.layers.Layer, variable: keras.Variable
) -> Any | None:
    """The numbers for which a quantized weight of `layer` stands.

    Args:
        layer: any layer.
        variable: a variable that `layer` made.

    Returns:
        A float tensor of the shape that the weight had before. None if the
        variable does not hold a quantized weight.
    """
    name = variable.name
    scale = getattr(layer, f"{name}_scale", None)
    mode = getattr(layer, "quantization_mode", None)
    if scale is None:
        return None
    if mode == "int8":
        if name == "embeddings":
            scale = ops.expand_dims(scale, -1)
        elif isinstance(layer, keras.layers.EinsumDense):
            scale = layer._adjust_scale_for_dequant(scale)
        numbers = ops.cast(variable, "float32") / scale
    elif mode == "int4":
        numbers = _unpacked(layer, variable, scale)
    elif getattr(layer, f"is_{mode}_calibrated", False):
        # The first axis of the stored matrix is that of the units.
        numbers = ops.transpose(
            _from_groups(layer, layer.kernel, name, scale, -1)
        )
        if mode == "awq":
            numbers = numbers / ops.expand_dims(layer.awq_scales, -1)
    else:
        return None
    if mode != "int8" and isinstance(layer, keras.layers.EinsumDense):
        numbers = ops.reshape(numbers, layer.original_kernel_shape)
    return numbers


def _unpacked(layer: Any, variable: keras.Variable, scale: Any) -> Any:
    """The numbers of a weight in which Keras packs two into one."""
    is_einsum = isinstance(layer, keras.layers.EinsumDense)
    numbers = keras.quantizers.unpack_int4(
        ops.convert_to_tensor(variable),
        layer._int4_unpacked_column_size
        if is_einsum
        else layer._orig_output_dim,
        axis=0 if variable.name == "reverse_embeddings" else -1,
    )
    by_row = variable.name == "embeddings"
    if hasattr(layer, f"{variable.name}_zero"):
        axis = -1 if by_row else 0
        return _from_groups(layer, numbers, variable.name, scale, axis)
    scale = ops.expand_dims(scale, -1) if by_row else scale
    return ops.cast(numbers, "float32") / scale


def _from_groups(
    layer: Any, numbers: Any, name: str, scale: Any, axis: int
) -> Any:
    """`numbers` with the zero and the scale of each group along `axis`."""
    group = ops.cast(layer.g_idx, "int32")
    zero = ops.cast(getattr(layer, f"{name}_zero"), "float32")
    return (
        ops.cast(numbers, "float32") - ops.take(zero, group, axis=axis)
    ) * ops.take(scale, group, axis=axis)


def with_path(variable: keras.Variable, path: str) -> keras.Variable:
    """`variable`, with the path of another one."""
    variable._path = path
    return variable


ATTENTION_PROJECTIONS = {
    "query": "_query_dense",
    "key": "_key_dense",
    "value": "_value_dense",
    "gate": "_gate_dense",
    "output": "_output_dense",
}
"""The attributes of `MultiHeadAttention` and `GroupQueryAttention` that hold
their projections. They have a gate only with `use_gate=True`."""


def uses_flash_attention(layer: keras.layers.Layer) -> bool:
    """Whether an attention layer demands it; its config does not tell."""
    return bool(layer._flash_attention)
