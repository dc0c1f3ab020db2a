"""The calls inside of layers and models of one's own."""

import inspect
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import keras.src.layers.layer as layer_module
import keras.src.ops.operation as operation_module
from keras import tree
from keras.src.backend import compute_output_spec
from keras.src.ops.symbolic_arguments import SymbolicArguments

from kreg._keras_private.layers import flatten_layers
from kreg._keras_private.patching import patched


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
        place: for an operation in the code of its owner, how often the owner
            has run before, and how many operations it has called before since
            it runs.
    """

    operation: Any
    arguments: Any
    output_tensors: tuple[Any, ...]
    owners: tuple[Any, ...] = ()
    training: bool | None = None
    reason: str | None = None
    place: tuple[int, int] = (0, 0)

    @property
    def input_tensors(self) -> list[Any]:
        """The symbolic tensors among the arguments."""
        tensors: list[Any] = self.arguments.keras_tensors
        return tensors


@dataclass(frozen=True, eq=False)
class TracedGraph:
    """The calls of stock layers and operations in a model, however deep.

    Args:
        calls: the calls on the way to the outputs and the losses, and those to
            and from other layers with weights, in the order of execution.
        inputs: the symbolic tensors that enter the model, flat.
        outputs: the symbolic tensors that leave it, flat.
        structure: the outputs in the structure that the model returns.
        composites: the calls of the layers and models that were looked into,
            the model itself last.
        unseen: the path of the layer that uses a variable in a way that shows
            in no call, by the `id` of the variable.
        aside: those of the calls on which the outputs do not depend.
        losses: the tensors that code adds as losses.
    """

    calls: tuple[TracedCall, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    structure: Any
    composites: tuple[TracedCall, ...]
    unseen: Mapping[int, str]
    aside: tuple[TracedCall, ...] = ()
    losses: tuple[Any, ...] = ()


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


def trains_as_it_predicts(call: TracedCall) -> bool:
    """Whether the code of a layer makes the same calls in training.

    The layers that it calls may differ in training. False if its code cannot
    run on symbolic tensors in training.

    Args:
        call: a call of a layer that was looked into.
    """
    layer = call.operation
    if "training" not in inspect.signature(layer.call).parameters:
        return True
    made = []
    for training in (False, True):
        try:
            calls = calls_inside(layer, call, training)
        except Exception:  # whatever the layer raises
            return False
        # The layers, and the kinds of operations, that its code calls itself.
        made.append(
            [
                inner.operation
                if isinstance(inner.operation, keras.layers.Layer)
                else type(inner.operation)
                for inner in calls
                if inner.owners and inner.owners[-1] is layer
            ]
        )
    return made[0] == made[1]


def calls_inside(
    layer: keras.layers.Layer, call: TracedCall, training: bool
) -> list[TracedCall]:
    """The calls in the code of a layer, and of those that it calls.

    Args:
        layer: the layer that was called, or one like it.
        call: the call, of which the arguments are taken.
        training: whether it is in training, where a layer asks for that.

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


def call_in_wrapper(
    layer: keras.layers.Layer, tensor: Any, output_tensors: Sequence[Any]
) -> TracedCall:
    """The call of a layer by a wrapper around it, which no trace shows."""
    return TracedCall(layer, SymbolicArguments(tensor), tuple(output_tensors))


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


# This layer looks its weight up in one call, and multiplies with it in another.
_IN_BOTH_DIRECTIONS = getattr(keras.layers, "ReversibleEmbedding", keras.Model)


def is_composite(operation: Any) -> bool:
    """Whether it is looked into: a model, or a layer that is none of Keras's.

    So is a `ReversibleEmbedding`.
    """
    if isinstance(operation, keras.Model | _IN_BOTH_DIRECTIONS):
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
        self._losses: list[Any] = []
        self._owners: list[Any] = []
        self._runs: Counter[int] = Counter()  # of each layer, by its `id`
        self._places = [(0, 0)]  # where the code of each owner is
        self._pending: dict[int, tuple[bool | None, str | None]] = {}
        self._weights: dict[tuple[int, str], TracedCall] = {}
        # The attributes of layers that are variables, by the `id` of the layer.
        self._variables: dict[int, dict[str, keras.Variable]] = {}
        self._unseen: dict[int, str] = {}
        self._before: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._running = 0  # how many noted calls are being computed
        self._exit = ExitStack()

    def __enter__(self) -> "_Trace":
        layer, operation = keras.layers.Layer, keras.Operation
        self._symbolic_call = layer.symbolic_call
        self._node = layer_module.Node
        for owner, name, value in (
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
            for name in attributes.keys() - before.keys():
                del attributes[name]
            attributes.update(before)

    def _is_elsewhere(self) -> bool:
        return threading.get_ident() != self._thread

    def _layer_call(self) -> Callable[..., Any]:
        original = self._symbolic_call

        def symbolic_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_elsewhere() or self._running:
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
        attributes = vars(layer)
        variables = self._variables.get(id(layer), {})
        self._before.setdefault(
            id(layer), (attributes, {**attributes, **variables})
        )
        self._owners.append(layer)
        self._places.append((self._runs[id(layer)], 0))
        self._runs[id(layer)] += 1
        quantized = getattr(layer, "quantization_mode", None) and (
            type(layer).quantized_call is not keras.layers.Layer.quantized_call
        )
        try:
            call = layer.quantized_call if quantized else layer.call
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
        """Let the attributes of layers that hold variables be others."""
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
        """The outputs of a layer as tensors without a history."""
        self._running += 1
        parts = flatten_layers(layer)
        try:
            with self._attributes(parts, lambda variable: variable):
                return self._known_outputs(layer, args, kwargs)
        finally:
            self._running -= 1

    def _known_outputs(self, layer: Any, args: Any, kwargs: Any) -> Any:
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

    def _operation_call(self) -> Callable[..., Any]:
        original = keras.Operation.symbolic_call

        def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_elsewhere():
                return original(operation, *args, **kwargs)
            if type(operation).__name__ == "GetItem":
                # Its rule for shapes takes no slice that is alone.
                x, key = args
                args = x, key if isinstance(key, int | tuple) else (key,)
            self._running += 1
            try:
                return original(operation, *args, **kwargs)
            finally:
                self._running -= 1
                if not self._running:
                    run, count = self._places[-1]
                    self._places[-1] = run, count + 1

        return symbolic_call

    def _adding_loss(self) -> Callable[..., Any]:
        original = keras.layers.Layer.add_loss

        def add_loss(layer: Any, loss: Any) -> Any:
            symbolic = list(filter(_is_symbolic, tree.flatten(loss)))
            if self._is_elsewhere() or not symbolic:
                return original(layer, loss)
            self._losses += symbolic
            return None

        return add_loss

    def _drawing(self) -> Callable[..., Any]:
        """Random numbers that are the same in each trace."""
        original = keras.random.SeedGenerator.next

        def next_seed(generator: Any, ordered: bool = True) -> Any:
            if self._is_elsewhere():
                return original(generator, ordered)
            return keras.ops.zeros((2,), generator.state.dtype)

        return next_seed

    def _reading(self) -> property:
        original = keras.Variable.value

        def value(variable: Any) -> Any:
            if self._owners and not self._running and not self._is_elsewhere():
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
            tuple(t for t in tree.flatten(outputs) if _is_symbolic(t)),
            tuple(self._owners),
            training,
            reason,
            self._places[-1],
        )
        (self._composites if looked_into else self._calls).append(call)
        return call

    def calls(self) -> list[TracedCall]:
        """The calls of weights, leaves and what was looked into."""
        return [*self._weights.values(), *self._calls, *self._composites]

    def graph(self, inputs: tuple[Any, ...], structure: Any) -> TracedGraph:
        """The calls that the outputs depend on."""
        outputs = tuple(filter(_is_symbolic, tree.flatten(structure)))
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


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _has_known_shape(value: Any) -> bool:
    return not _is_symbolic(value) or None not in value.shape


def one_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    text = _ESCAPE_CODES.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered when"):
        del lines[0]
    first = lines[0] if lines else ""
    return f"{type(error).__name__}: {first}"[:200].rstrip(": ")


# By which Keras makes a part of its messages bold.
_ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*m")


def _path(owner: Any) -> str:
    return str(getattr(owner, "path", None) or getattr(owner, "name", ""))
