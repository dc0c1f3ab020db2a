"""Tracing the calls inside of custom layers and models."""

import inspect
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import keras.src.layers.layer as layer_module
import keras.src.ops.operation as operation_module
from keras import tree
from keras.src.backend import compute_output_spec
from keras.src.ops.symbolic_arguments import SymbolicArguments
from keras.utils import is_keras_tensor

from kreg._keras_private.layers import flatten_layers
from kreg._keras_private.patching import patched, restore_attributes
from kreg._keras_private.traced_calls import TracedCall, TracedGraph, Weight
from kreg.error_messages import one_line


def traced_graph(
    model: keras.Model, inputs: Any, opaque: Mapping[int, str] | None = None
) -> TracedGraph:
    """Run a model on symbolic tensors, and note the calls inside of it.

    A layer of Keras is a single call. So is a custom layer whose Python code
    cannot run on symbolic tensors. The run leaves the variables, attributes
    and nodes of the model as they were.

    Args:
        model: a built model of any kind.
        inputs: `keras.KerasTensor`s in the structure that the model is called
            on. Custom code may fail on sizes that are None.
        opaque: the layers not to look into, and why, by their `id`.

    Raises:
        Exception: whatever the model raises on such inputs.
    """
    with _tracing, warnings.catch_warnings(), _Trace(opaque or {}) as trace:
        # Layers have given their warnings when the model was made.
        warnings.simplefilter("ignore")
        outputs = model(inputs, training=False)
    return trace.graph(tuple(tree.flatten(inputs)), outputs)


def calls_inside(
    layer: keras.layers.Layer, call: TracedCall, training: bool
) -> list[TracedCall]:
    """The calls in the code of a layer and of the layers that it calls.

    Args:
        layer: the layer that was called, or one of the same class.
        call: a call, whose arguments are passed to the layer.
        training: the argument `training` of the layer, if its code takes one.

    Raises:
        Exception: whatever the layer raises on symbolic tensors.
    """
    options = dict(call.arguments.kwargs)
    if "training" in inspect.signature(layer.call).parameters:
        options["training"] = training
    with _tracing, warnings.catch_warnings(), _Trace({}) as trace:
        warnings.simplefilter("ignore")
        layer(*call.arguments.args, **options)
    return trace.calls()


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


# One call of this layer looks up rows of its weight, another multiplies by it.
_IN_BOTH_DIRECTIONS = getattr(keras.layers, "ReversibleEmbedding", keras.Model)


def is_composite(operation: Any) -> bool:
    """Whether a trace looks into a layer: into models and custom layers.

    It also looks into a `ReversibleEmbedding`, and into a `TimeDistributed` of
    a layer that it looks into.
    """
    if isinstance(operation, keras.Model | _IN_BOTH_DIRECTIONS):
        return True
    if type(operation) is keras.layers.TimeDistributed:
        return is_composite(operation.layer)
    return isinstance(
        operation, keras.layers.Layer
    ) and not operation.__class__.__module__.startswith("keras.src.layers.")


class _Trace:
    """Notes the calls of one thread while the block of the trace runs.

    Keras makes a `Node` of each symbolic call of an operation or a layer. In
    the thread of the trace, a `TracedCall` takes the place of the node. A layer
    that is looked into runs its `call` on the symbolic tensors themselves.
    """

    def __init__(self, opaque: Mapping[int, str]) -> None:
        self._opaque = opaque
        self._thread = threading.get_ident()
        self._calls: list[TracedCall] = []
        self._composites: list[TracedCall] = []
        self._losses: list[Any] = []
        self._owners: list[Any] = []
        self._runs: Counter[int] = Counter()  # of each layer, by its `id`
        # Of the next operation, for each owner; None in a call on arrays.
        self._places: list[tuple[int, int] | None] = [(0, 0)]
        self._pending: dict[int, tuple[bool | None, str | None]] = {}
        self._weights: dict[tuple[int, str], TracedCall] = {}
        # The attributes of layers that are variables, by the `id` of the layer.
        self._variables: dict[int, dict[str, keras.Variable]] = {}
        self._unseen: dict[int, str] = {}
        self._before: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._running = 0  # how many calls inside each other are computed
        self._exit = ExitStack()

    def __enter__(self) -> "_Trace":
        layer, operation = keras.layers.Layer, keras.Operation
        self._symbolic_call = layer.symbolic_call
        self._node = layer_module.Node
        for owner, name, value in (
            (layer, "__call__", self._call_on_arrays()),
            (layer, "symbolic_call", self._layer_call()),
            (operation, "symbolic_call", self._operation_call()),
            (layer, "add_loss", self._adding_loss()),
            (keras.random.SeedGenerator, "next", self._drawing()),
            (keras.Variable, "value", self._reading()),
            (layer_module, "Node", self._note),
            (operation_module, "Node", self._note),
        ):
            self._exit.enter_context(patched(owner, name, value))
        self._exit.callback(self._restore_attributes)
        self._exit.enter_context(keras.StatelessScope())
        return self

    def __exit__(self, *exception: object) -> None:
        self._exit.close()

    def run(self, function: Callable[[Any], Any], x: Any) -> Any:
        """Run a function that no layer owns."""
        self._owners.append(function)
        return function(x)

    def _restore_attributes(self) -> None:
        for attributes, before in self._before.values():
            restore_attributes(attributes, before)

    def _is_other_thread(self) -> bool:
        return threading.get_ident() != self._thread

    def _call_on_arrays(self) -> Callable[..., Any]:
        """Calls of layers inside others, some of which get arrays alone.

        These run on the arrays, so that a table of positions is a constant. The
        operations in them are not those of the code that calls the layer.
        """
        original = keras.layers.Layer.__call__

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if (
                self._is_other_thread()
                or self._running
                or any(map(is_keras_tensor, tree.flatten((args, kwargs))))
            ):
                return original(layer, *args, **kwargs)
            self._runs[id(layer)] += 1
            self._places.append(None)
            try:
                return original(layer, *args, **kwargs)
            finally:
                self._places.pop()

        return call

    def _layer_call(self) -> Callable[..., Any]:
        original = self._symbolic_call

        def symbolic_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_other_thread() or self._running:
                return original(layer, *args, **kwargs)
            reason = self._opaque.get(id(layer))
            if is_composite(layer) and reason is None:
                noted = [self._calls, self._composites, self._losses]
                counts = list(map(len, noted))
                try:
                    return self._look_into(layer, args, kwargs)
                except Exception as error:
                    if not self._owners:
                        raise  # the model itself
                    reason = one_line(error)
                    for made, count in zip(noted, counts, strict=True):
                        del made[count:]
                    self._pending.clear()
            if reason is not None:
                for variable in layer.variables:
                    self._unseen.setdefault(id(variable), _path(layer))
            outputs = self._specification(layer, args, kwargs)
            self._pending[id(layer)] = kwargs.get("training"), reason
            return outputs

        return symbolic_call

    def _look_into(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Run the code of a layer, so that the calls in it are noted."""
        attributes = vars(layer)
        variables = self._variables.get(id(layer), {})
        self._before.setdefault(
            id(layer), (attributes, {**attributes, **variables})
        )
        self._owners.append(layer)
        self._places.append((self._runs[id(layer)], 0))
        self._runs[id(layer)] += 1
        try:
            call = _code_of(layer)
            # The code may use weights of the layers inside it, too.
            with self._attributes(flatten_layers(layer), self._weight):
                return call(*args, **kwargs)
        finally:
            self._owners.pop()
            self._places.pop()

    @contextmanager
    def _attributes(
        self,
        layers: Sequence[Any],
        value_of: Callable[[keras.Variable], Any],
    ) -> Iterator[None]:
        """Replace variables in the attributes of layers while a block runs."""
        before = []
        for layer in layers:
            attributes = vars(layer)
            variables = self._variables.setdefault(
                id(layer),
                {
                    name: value
                    for name, value in attributes.items()
                    if isinstance(value, keras.Variable)
                },
            )
            before.append((attributes, {n: attributes[n] for n in variables}))
            attributes.update({n: value_of(v) for n, v in variables.items()})
        try:
            yield
        finally:
            for attributes, values in before:
                attributes.update(values)

    def _specification(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """The outputs of a layer, without looking into it."""
        self._running += 1
        parts = flatten_layers(layer)
        try:
            with self._attributes(parts, lambda variable: variable):
                return self._sized_outputs(layer, args, kwargs)
        finally:
            self._running -= 1

    def _sized_outputs(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """The outputs of a layer, with all sizes if its inputs have them."""
        outputs = self._symbolic_call(layer, *args, **kwargs)
        arguments = tree.flatten((args, kwargs))
        if not all(map(_has_all_sizes, arguments)) or all(
            map(_has_all_sizes, tree.flatten(outputs))
        ):
            return outputs
        # The `compute_output_shape` of some layers leaves sizes open.
        call = layer.call
        if getattr(layer, "quantization_mode", None):
            call = layer.quantized_call
        return compute_output_spec(call, *args, **kwargs)

    def _operation_call(self) -> Callable[..., Any]:
        original = keras.Operation.symbolic_call

        def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_other_thread():
                return original(operation, *args, **kwargs)
            if type(operation).__name__ == "GetItem":
                # Its rule for shapes takes slices in a tuple only.
                x, key = args
                args = x, key if isinstance(key, int | tuple) else (key,)
            self._running += 1
            try:
                return original(operation, *args, **kwargs)
            finally:
                self._running -= 1
                place = self._places[-1]
                if not self._running and place is not None:
                    run, count = place
                    self._places[-1] = run, count + 1

        return symbolic_call

    def _adding_loss(self) -> Callable[..., Any]:
        original = keras.layers.Layer.add_loss

        def add_loss(layer: Any, loss: Any) -> Any:
            symbolic = list(filter(is_keras_tensor, tree.flatten(loss)))
            if self._is_other_thread() or not symbolic:
                return original(layer, loss)
            self._losses += symbolic
            return None

        return add_loss

    def _drawing(self) -> Callable[..., Any]:
        """Random numbers that are the same in each trace."""
        original = keras.random.SeedGenerator.next

        def next_seed(generator: Any, ordered: bool = True) -> Any:
            if self._is_other_thread():
                return original(generator, ordered)
            return keras.ops.zeros((2,), generator.state.dtype)

        return next_seed

    def _reading(self) -> property:
        original = keras.Variable.value

        def value(variable: Any) -> Any:
            if (
                self._owners
                and not self._running
                and not self._is_other_thread()
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
        """Note a call: this takes the place of Keras's class `Node`."""
        if self._is_other_thread() or (
            isinstance(operation, keras.layers.Layer) and self._running
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
            tuple(t for t in tree.flatten(outputs) if is_keras_tensor(t)),
            tuple(self._owners),
            training,
            reason,
            self._places[-1],
        )
        (self._composites if looked_into else self._calls).append(call)
        return call

    def calls(self) -> list[TracedCall]:
        """All calls: of weights, of leaves, of what was looked into."""
        return [*self._weights.values(), *self._calls, *self._composites]

    def graph(self, inputs: tuple[Any, ...], structure: Any) -> TracedGraph:
        """The graph of the calls that lead to the outputs, and of others."""
        outputs = tuple(filter(is_keras_tensor, tree.flatten(structure)))
        on_the_way = set(map(id, self._leading_to(outputs)))
        aside: dict[int, Any] = {}
        for call in self._calls:
            if (
                getattr(call.operation, "weights", ())
                and id(call) not in on_the_way
            ) or any(id(tensor) in aside for tensor in call.input_tensors):
                aside.update((id(t), t) for t in call.output_tensors)
        calls = self._leading_to((*outputs, *aside.values(), *self._losses))
        return TracedGraph(
            tuple(calls),
            inputs,
            outputs,
            structure,
            tuple(self._composites),
            self._unseen,
            tuple(call for call in calls if id(call) not in on_the_way),
            tuple(self._losses),
        )

    def _leading_to(self, tensors: Sequence[Any]) -> list[TracedCall]:
        """The calls that tensors depend on, in the order of execution."""
        needed = set(map(id, tensors))
        calls = []
        for call in reversed((*self._weights.values(), *self._calls)):
            if any(id(tensor) in needed for tensor in call.output_tensors):
                needed.update(id(tensor) for tensor in call.input_tensors)
                calls.append(call)
        return calls[::-1]


def _code_of(layer: Any) -> Callable[..., Any]:
    """The method that a call of a layer runs."""
    if type(layer) is keras.layers.TimeDistributed:
        return partial(_steps_as_examples, layer)
    quantized = getattr(layer, "quantization_mode", None) and (
        type(layer).quantized_call is not keras.layers.Layer.quantized_call
    )
    return layer.quantized_call if quantized else layer.call


def _steps_as_examples(
    wrapper: keras.layers.TimeDistributed,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    """What a `TimeDistributed` computes, with a single call of its layer."""
    layer = wrapper.layer
    batch, steps = inputs.shape[:2]

    def merged(x: Any) -> Any:
        return keras.ops.reshape(x, (batch * steps, *x.shape[2:]))

    options: dict[str, Any] = {}
    if training is not None and layer._call_has_training_arg:
        options["training"] = training
    if mask is not None and layer._call_has_mask_arg:
        options["mask"] = merged(mask)
    outputs = layer(merged(inputs), **options)
    return keras.ops.reshape(outputs, (batch, steps, *outputs.shape[1:]))


def _has_all_sizes(value: Any) -> bool:
    return not is_keras_tensor(value) or None not in value.shape


def _path(owner: Any) -> str:
    return str(getattr(owner, "path", None) or getattr(owner, "name", ""))
