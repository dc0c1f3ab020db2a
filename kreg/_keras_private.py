"""Everything that kreg takes from Keras below its public names.

Each function has a test in `tests/test_keras_private.py`, which fails when
Keras changes what the function relies on.
"""

import copyreg
import functools
import threading
import warnings
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import keras
import keras.src.layers.layer as layer_module
import keras.src.ops.operation as operation_module
from keras import ops, tree
from keras.src.backend import compute_output_spec
from keras.src.backend.common.stateless_scope import (
    get_stateless_scope,
    in_stateless_scope,
)
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope as in_symbolic_scope,
)
from keras.src.layers.layer import Layer
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell
from keras.src.ops.symbolic_arguments import SymbolicArguments
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.saving.serialization_lib import SafeModeScope
from keras.src.trainers.compile_utils import MetricsList
from keras.src.utils.tracking import DotNotTrackScope


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


class ModelRecord(SavedState):
    """A text that Keras keeps with a model in its `.keras` file.

    Keras writes and reads it like the vocabulary of a `TextVectorization`, as
    an asset: a file of weights has none. Copies by `copy.deepcopy` or `pickle`
    have it too, because Keras saves and loads a model to copy it.

    Args:
        model: the model, to which it refers weakly.
    """

    file = "record.json"

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)

    @abstractmethod
    def is_needed(self, model: keras.Model) -> bool:
        """Whether there is anything to write."""

    @abstractmethod
    def text(self, model: keras.Model) -> str:
        """What to write."""

    @abstractmethod
    def restore(self, model: keras.Model, text: str) -> None:
        """Restore what was written; called once the weights are loaded."""

    @property
    def save_assets(self) -> Callable[[str], None]:
        """The function that writes the text to a folder.

        Keras makes a folder for each object that has this attribute.
        """
        model = self._model()
        if model is None or not self.is_needed(model):
            raise AttributeError("There is nothing to save")
        return functools.partial(self._write, model)

    def load_assets(self, folder: str | None) -> None:
        """Read the text from a folder; None if the file has no such folder."""
        path, model = Path(folder or "", self.file), self._model()
        if folder is not None and path.is_file() and model is not None:
            self.restore(model, path.read_text(encoding="utf-8"))

    def _write(self, model: keras.Model, folder: str) -> None:
        Path(folder, self.file).write_text(self.text(model), encoding="utf-8")


# Keras visits it after the layers of the model and the models inside it.
_RECORD = "~kreg_record"
_Record = TypeVar("_Record", bound=ModelRecord)


def keep_with_models(
    record_class: type[_Record],
) -> Callable[[keras.Model], _Record]:
    """Let Keras save and load a record with every model.

    It looks for what to save, and for what to load, through the attributes of a
    model. A model that is being loaded is a new object of which kreg does not
    know, so the record is a property of `keras.Model`. It is one more attribute
    and changes none of Keras's own.

    Returns:
        A function that returns the record of a model.
    """
    records: weakref.WeakKeyDictionary[keras.Model, _Record] = (
        weakref.WeakKeyDictionary()
    )

    def record_of(model: keras.Model) -> _Record:
        # Keras tells by the `id` what it has saved, so the object must stay.
        if model not in records:
            records[model] = record_class(model)
        return records[model]

    setattr(keras.Model, _RECORD, property(record_of))
    return record_of


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
    """Let `model` carry no variables and save no states while a block runs."""
    before = list(model._seed_generators)
    states = vars(model).pop(_SAVED_STATES, [])
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


def declared_inputs(model: keras.Model) -> Any | None:
    """The symbolic inputs of a model of layers, in their structure.

    None for a subclass that is called on what it likes.
    """
    function = getattr(model, "_functional", None) or model
    return getattr(function, "_inputs_struct", None)


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
    known = cls.__module__.startswith(
        ("keras.src.ops.", "keras.src.activations")
    )
    return cls.__name__ if known else None


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


def cloned(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer and of all that it holds, made without its config.

    The copy has variables of its own, and is called in no model yet. Functions
    and modules that the layer holds are shared. Regularizers and constraints
    are shared, too, and so is the optimizer of a model.

    Args:
        layer: a built layer, or a model.

    Raises:
        TypeError: if it holds what Python cannot copy, such as an open file.
    """
    memo: dict[int, Any] = {
        id(layer._inbound_nodes): [],
        id(layer._outbound_nodes): [],
    }
    for variable in layer.variables:
        for shared in (variable.regularizer, variable.constraint):
            memo[id(shared)] = shared
    for part in flatten_layers(layer):
        for name in ("train_function", "test_function", "predict_function"):
            memo[id(vars(part).get(name))] = None
        strategy = vars(part).get("_distribute_strategy")
        memo[id(strategy)] = strategy
    with _copied_by_attributes(), DotNotTrackScope():
        copy: keras.layers.Layer = deepcopy(layer, memo)
    for part in flatten_layers(copy):
        stores = part._tracker.config
        part._tracker.stored_ids = {
            name: {id(value) for value in store}
            for name, (_, store) in stores.items()
        }
    return copy


@contextmanager
def _copied_by_attributes() -> Iterator[None]:
    """Let Python copy Keras's objects attribute by attribute.

    Keras reduces them to a saved file, which needs a config.
    """

    def reduced(saveable: Any) -> Any:
        if isinstance(saveable, keras.optimizers.Optimizer):
            return "shared"  # a text stands for an object that is not copied
        cls = type(saveable)
        # Methods that Keras wraps in each object hold the object itself.
        own = vars(cls.__new__(cls))  # type: ignore[call-overload]
        state = {
            name: value
            for name, value in vars(saveable).items()
            if not (name in own and callable(value))
        }
        return copyreg.__newobj__, (cls,), state  # type: ignore[attr-defined]

    own_reduce = KerasSaveable.__reduce__
    modules = copyreg.dispatch_table.get(ModuleType)
    KerasSaveable.__reduce__ = reduced
    copyreg.pickle(ModuleType, lambda module: module.__name__)
    try:
        yield
    finally:
        KerasSaveable.__reduce__ = own_reduce
        del copyreg.dispatch_table[ModuleType]
        if modules is not None:
            copyreg.dispatch_table[ModuleType] = modules


def forget_last_call(layer: keras.layers.Layer) -> None:
    """Take the last call on symbolic tensors out of a layer's memory."""
    layer._inbound_nodes.pop()


@contextmanager
def expanded(
    layer: keras.layers.Layer,
    replacement: Callable[[keras.layers.Layer], Callable[..., Any] | None],
) -> Iterator[None]:
    """Let symbolic calls of `layer` be the calls inside its `call`.

    While the block runs, calling `layer` on symbolic tensors adds the layers
    and operations that it calls to the graph, and not itself.

    Args:
        layer: a layer that calls others.
        replacement: returns what is called in the place of a layer inside it;
            None for the layer itself.
    """
    call, symbolic_call = Layer.__call__, Layer.symbolic_call
    new_node = layer_module.Node

    def replaced_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        other = None if self is layer else replacement(self)
        if other is None:
            return call(self, *args, **kwargs)
        return other(*args, **kwargs)

    def inner_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self is layer:
            return self.call(*args, **kwargs)
        return symbolic_call(self, *args, **kwargs)

    def node(operation: Any, **arguments: Any) -> Any:
        if operation is not layer:
            return new_node(operation=operation, **arguments)
        return None

    Layer.__call__, Layer.symbolic_call = replaced_call, inner_call
    layer_module.Node = node
    try:
        yield
    finally:
        Layer.__call__, Layer.symbolic_call = call, symbolic_call
        layer_module.Node = new_node


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


class Weight(keras.Operation):
    """The operation that reads a variable, without any inputs.

    Args:
        variable: the variable that it reads.
    """

    def __init__(self, variable: keras.Variable) -> None:
        super().__init__(name=variable.name)
        self.variable = variable

    def call(self) -> Any:
        """The value of the variable."""
        return self.variable.value


@dataclass(frozen=True, eq=False)
class TracedCall:
    """A call in a traced graph.

    Args:
        operation: a layer, an operation of `keras.ops` or a `Weight`.
        arguments: its arguments, as in a node of Keras: `args`, `kwargs` and
            `fill_in`. Variables among them are tensors of a `Weight`.
        output_tensors: its outputs, flat.
        owners: the model and the layers in which it is made, outermost first.
        training: whether it runs as in training; None if it does not say.
        reason: why the inside of a layer of one's own could not be followed;
            None for all other calls.
    """

    operation: Any
    arguments: Any
    output_tensors: tuple[Any, ...]
    owners: tuple[Any, ...] = ()
    training: bool | None = None
    reason: str | None = None

    @property
    def input_tensors(self) -> list[Any]:
        """The symbolic tensors among the arguments."""
        tensors: list[Any] = self.arguments.keras_tensors
        return tensors


@dataclass(frozen=True, eq=False)
class TracedGraph:
    """The calls of stock layers and operations in a model, however deep.

    Args:
        calls: the calls on the way to the outputs, in the order of execution.
        inputs: the symbolic tensors that enter the model, flat.
        outputs: the symbolic tensors that leave it, flat.
        structure: the outputs in the structure that the model returns.
        composites: the calls of the layers and models that were looked into,
            the model itself last.
        unseen: the path of the layer that uses a variable in a way that shows
            in no call, by the `id` of the variable.
    """

    calls: tuple[TracedCall, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    structure: Any
    composites: tuple[TracedCall, ...]
    unseen: Mapping[int, str]


def traced_graph(
    model: keras.Model, inputs: Any, opaque: Mapping[int, str] | None = None
) -> TracedGraph:
    """Run a model on symbolic tensors, and note the calls inside of it.

    Layers of Keras's own are single calls, and so is a layer of one's own
    whose Python code cannot run on symbolic tensors. The calls leave no trace
    in the model: its variables, attributes and nodes are as before.

    Args:
        model: a built model of any kind.
        inputs: its inputs, in the structure that it is called on, as
            `keras.KerasTensor`s. Sizes that are not known may make code fail.
        opaque: the layers not to look into, and why, by their `id`.

    Raises:
        Exception: whatever the model raises on such inputs.
    """
    with _tracing, warnings.catch_warnings(), _Trace(opaque or {}) as trace:
        # What a layer warns of, it said when the model was made.
        warnings.simplefilter("ignore")
        outputs = model(inputs, training=False)
    return trace.graph(tuple(tree.flatten(inputs)), outputs)


def unseen_graph(model: keras.Model, inputs: Any, reason: str) -> TracedGraph:
    """The graph of a model that is not looked into: a single call of it."""
    outputs = tuple(tree.flatten(getattr(model, "outputs", None) or ()))
    call = TracedCall(model, SymbolicArguments(inputs), outputs, reason=reason)
    return TracedGraph(
        (call,),
        tuple(tree.flatten(inputs)),
        outputs,
        outputs,
        (),
        {id(variable): model.name for variable in model.variables},
    )


def traced_function(
    function: Callable[[Any], Any], x: Any
) -> TracedGraph | None:
    """The calls of a function of one symbolic tensor; None if it fails."""
    try:
        with _tracing, _Trace({}) as trace:
            outputs = trace.run(function, x)
    except Exception:  # whatever the function raises
        return None
    return trace.graph((x,), outputs)


_tracing = threading.RLock()


def is_composite(operation: Any) -> bool:
    """Whether an operation is a model, or a layer that is none of Keras's."""
    if isinstance(operation, keras.Model):
        return True
    return isinstance(
        operation, keras.layers.Layer
    ) and not operation.__class__.__module__.startswith("keras.src.layers.")


class _Trace:
    """Notes the calls of one thread while it is entered.

    Keras makes a `Node` of each symbolic call of an operation or a layer. In
    the thread of the trace, a `TracedCall` takes its place, and a layer that
    is looked into runs its `call` on the symbolic tensors themselves.
    """

    def __init__(self, opaque: Mapping[int, str]) -> None:
        self._opaque = opaque
        self._thread = threading.get_ident()
        self._calls: list[TracedCall] = []
        self._composites: list[TracedCall] = []
        self._owners: list[Any] = []
        self._pending: dict[int, tuple[bool | None, str | None]] = {}
        self._weights: dict[tuple[int, str], TracedCall] = {}
        self._unseen: dict[int, str] = {}
        self._before: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._noted_reads = 0  # how many noted calls are being computed
        self._exit = ExitStack()

    def __enter__(self) -> "_Trace":
        layer, operation = keras.layers.Layer, keras.Operation
        self._symbolic_call = layer.symbolic_call
        self._node = layer_module.Node
        self._patch(layer, "symbolic_call", self._layer_call())
        self._patch(operation, "symbolic_call", self._operation_call())
        self._patch(keras.Variable, "value", self._reading())
        self._patch(layer_module, "Node", self._note)
        self._patch(operation_module, "Node", self._note)
        self._exit.callback(self._restore_attributes)
        self._exit.enter_context(keras.StatelessScope())
        return self

    def __exit__(self, *exception: object) -> None:
        self._exit.close()

    def run(self, function: Callable[[Any], Any], x: Any) -> Any:
        """Run a function that no layer owns."""
        self._owners.append(function)
        return function(x)

    def _patch(self, owner: Any, name: str, value: Any) -> None:
        own = name in vars(owner)
        before = vars(owner).get(name)
        setattr(owner, name, value)
        if own:
            self._exit.callback(setattr, owner, name, before)
        else:
            self._exit.callback(delattr, owner, name)

    def _restore_attributes(self) -> None:
        for attributes, before in self._before.values():
            for name in attributes.keys() - before.keys():
                del attributes[name]
            attributes.update(before)

    def _is_elsewhere(self) -> bool:
        return threading.get_ident() != self._thread

    def _layer_call(self) -> Callable[..., Any]:
        original = self._symbolic_call

        def symbolic_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_elsewhere() or self._noted_reads:
                return original(layer, *args, **kwargs)
            reason = self._opaque.get(id(layer))
            if is_composite(layer) and reason is None:
                noted = len(self._calls), len(self._composites)
                try:
                    return self._look_into(layer, args, kwargs)
                except Exception as error:
                    if not self._owners:
                        raise  # the model itself
                    reason = _one_line(error)
                    del self._calls[noted[0] :], self._composites[noted[1] :]
                    self._pending.clear()
            if reason is not None:
                for variable in layer.variables:
                    self._unseen.setdefault(id(variable), _path(layer))
            outputs = self._specification(layer, args, kwargs)
            self._pending[id(layer)] = kwargs.get("training"), reason
            return outputs

        return symbolic_call

    def _look_into(self, layer: Any, args: Any, kwargs: Any) -> Any:
        attributes = vars(layer)
        self._before.setdefault(id(layer), (attributes, dict(attributes)))
        own = {
            name: value
            for name, value in attributes.items()
            if isinstance(value, keras.Variable)
        }
        attributes.update({n: self._weight(v) for n, v in own.items()})
        self._owners.append(layer)
        quantized = getattr(layer, "quantization_mode", None) and (
            type(layer).quantized_call is not keras.layers.Layer.quantized_call
        )
        try:
            call = layer.quantized_call if quantized else layer.call
            return call(*args, **kwargs)
        finally:
            self._owners.pop()
            attributes.update(own)

    def _specification(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """The outputs of a layer as tensors without a history."""
        self._noted_reads += 1
        try:
            outputs = self._symbolic_call(layer, *args, **kwargs)
            flat = tree.flatten(outputs)
            given = tree.flatten((args, kwargs))
            if not all(map(_has_known_shape, given)) or all(
                map(_has_known_shape, flat)
            ):
                return outputs
            # Some layers do not tell all sizes that they know.
            call = layer.call
            if getattr(layer, "quantization_mode", None):
                call = layer.quantized_call
            return compute_output_spec(call, *args, **kwargs)
        finally:
            self._noted_reads -= 1

    def _operation_call(self) -> Callable[..., Any]:
        original = keras.Operation.symbolic_call

        def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_elsewhere():
                return original(operation, *args, **kwargs)
            if type(operation).__name__ == "GetItem":
                # Its rule for shapes takes no slice that is alone.
                x, key = args
                args = x, key if isinstance(key, int | tuple) else (key,)
            self._noted_reads += 1
            try:
                return original(operation, *args, **kwargs)
            finally:
                self._noted_reads -= 1

        return symbolic_call

    def _reading(self) -> property:
        original = keras.Variable.value

        def value(variable: Any) -> Any:
            if (
                self._owners
                and not self._noted_reads
                and not self._is_elsewhere()
            ):
                path = _path(self._owners[-1])
                self._unseen.setdefault(id(variable), path)
            return original.__get__(variable)

        return property(value)

    def _weight(self, variable: keras.Variable) -> Any:
        """The tensor that stands for a variable."""
        key = id(variable), str(variable.dtype)
        if key not in self._weights:
            tensor = keras.KerasTensor(variable.shape, dtype=variable.dtype)
            self._weights[key] = TracedCall(
                Weight(variable), SymbolicArguments(), (tensor,)
            )
        return self._weights[key].output_tensors[0]

    def _note(
        self,
        operation: Any,
        call_args: Any = None,
        call_kwargs: Any = None,
        outputs: Any = None,
    ) -> Any:
        """Take the place of the constructor of Keras's `Node`."""
        if self._is_elsewhere() or (
            isinstance(operation, keras.layers.Layer) and self._noted_reads
        ):
            return self._node(operation, call_args, call_kwargs, outputs)
        args, kwargs = tree.map_structure(
            lambda x: self._weight(x) if isinstance(x, keras.Variable) else x,
            (call_args, call_kwargs),
        )
        looked_into = is_composite(operation) and (
            id(operation) not in self._pending
        )
        training, reason = self._pending.pop(id(operation), (None, None))
        call = TracedCall(
            operation,
            SymbolicArguments(*args, **kwargs),
            tuple(t for t in tree.flatten(outputs) if _is_symbolic(t)),
            tuple(self._owners),
            training,
            reason,
        )
        (self._composites if looked_into else self._calls).append(call)
        return call

    def graph(self, inputs: tuple[Any, ...], structure: Any) -> TracedGraph:
        """The calls that the outputs depend on."""
        outputs = tuple(filter(_is_symbolic, tree.flatten(structure)))
        needed = {id(tensor) for tensor in outputs}
        calls = []
        for call in reversed((*self._weights.values(), *self._calls)):
            if any(id(tensor) in needed for tensor in call.output_tensors):
                needed.update(id(tensor) for tensor in call.input_tensors)
                calls.append(call)
        return TracedGraph(
            tuple(reversed(calls)),
            inputs,
            outputs,
            structure,
            tuple(self._composites),
            self._unseen,
        )


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _has_known_shape(value: Any) -> bool:
    return not _is_symbolic(value) or None not in value.shape


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200].rstrip(": ")


def _path(owner: Any) -> str:
    return str(getattr(owner, "path", None) or getattr(owner, "name", ""))
