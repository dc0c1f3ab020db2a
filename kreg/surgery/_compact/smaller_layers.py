"""`SmallerLayers`: what takes the place of each layer in a smaller model."""

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Any

import keras
from keras import layers, tree

from kreg._keras_private import (
    Graph,
    carries_mask,
    flatten_layers,
    forget_last_call,
    graph_of,
    is_plain_model,
    own_variables,
    run_graph,
    trusting,
)
from kreg.error_messages import cause_of
from kreg.layers.channels.call import Reduction
from kreg.surgery._compact.copies import (
    copied_attributes,
    copied_by_config,
    copy_values,
    freeze_alike,
    from_config,
)
from kreg.surgery._compact.expansion import Expansion
from kreg.surgery._compact.new_values import NewValues
from kreg.surgery._compact.smaller_configs import SmallerConfigs


class Way(StrEnum):
    """The way in which a layer got into the smaller model."""

    MODEL_CONFIG = "config of the model"
    RULE = "rule of its class"
    OPERATIONS = "operations that know its constants"
    CONFIG = "config of the layer"
    EXPANDED = "layers inside it"
    UNCHANGED = "unchanged"
    LEFT_OUT = "left out, as the outputs do not depend on it"


_NO_CONFIG = "no config gives it the smaller weights"


class StuckError(Exception):
    """A layer cannot be made with its smaller weights.

    Args:
        operation: the layer or operation.
        reason: why not.
    """

    def __init__(self, operation: Any, reason: str) -> None:
        super().__init__(reason)
        self.operation, self.reason = operation, reason


@dataclass(frozen=True)
class LayerCall:
    """The first call of what takes the place of a layer or operation.

    Args:
        operation: the layer or operation of the model.
        name: the name of what takes its place.
        args: the smaller tensors that it gets, and its other arguments.
        kwargs: its arguments by name.
    """

    operation: Any
    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def of(self, replacement: Callable[..., Any]) -> Any:
        """The outputs of what takes the place of the operation."""
        return replacement(*self.args, **self.kwargs)


class SmallerLayers:
    """Makes what takes the place of each layer and operation.

    A layer is made by its own config, or else by the calls inside of it.

    Args:
        model: the model.
        values: what changes in its weights.
        tells_all: whether the config of a custom layer tells all that its code
            does.
        unknown: the classes of layers that Keras does not know in a file.
        avoid: the ways not to take.

    Attributes:
        ways: the way of each layer into the smaller model, by its `id`. Layers
            inside another one have an entry only if that one was expanded.
        made: what takes the place of each layer or operation, by its `id`.
    """

    def __init__(
        self,
        model: keras.Model,
        values: NewValues,
        tells_all: Callable[[keras.layers.Layer], bool],
        unknown: Collection[type],
        avoid: frozenset[Way],
    ) -> None:
        self._model, self._values = model, values
        self._tells_all, self._unknown = tells_all, unknown
        self._avoid = avoid
        self.ways: dict[int, Way] = {}
        self.made: dict[int, Any] = {}
        self._stuck: StuckError | None = None
        self._configs = SmallerConfigs(values, tells_all)
        self._names: dict[int, str] = {}
        self._uses = Counter({part.name for part in flatten_layers(model)})
        self._setters: list[tuple[Any, Callable[[], None]]] = []

    @property
    def least_sizes(self) -> dict[tuple[int, int], int]:
        """The least sizes to ask for where no config of the model gives fewer.

        They are by the `id` of the variable and by the axis.
        """
        return self._configs.least_sizes

    def set_values(self) -> None:
        """Set the weights of all layers to the values that stay.

        Raises:
            StuckError: if they do not fit.
        """
        for layer, set_values in self._setters:
            try:
                set_values()
            except Exception as error:  # the shapes may differ
                raise stuck_at(layer, error) from error

    def set_later(
        self, layer: keras.layers.Layer, copy: keras.layers.Layer
    ) -> None:
        """Let `set_values` set the weights of a copy by its config."""
        set_values = partial(self._configs.set_values, layer, copy)
        self._setters.append((layer, set_values))

    def by_config(
        self,
        layer: keras.layers.Layer,
        make: Callable[[dict[str, Any]], keras.layers.Layer],
    ) -> Any | None:
        """A layer by its own config, with other integers; None if none fits."""
        copy = self._configs.smaller(
            layer, make, sized_by_inputs=layer is not self._model
        )
        if copy is not None:
            self.set_later(layer, copy)
        return copy

    def without_config(self, layer: keras.layers.Layer) -> StuckError:
        """The error of a layer that no config gives its smaller weights."""
        return StuckError(
            layer, self._configs.reasons.get(id(layer), _NO_CONFIG)
        )

    def functional(
        self, model: keras.Model, name: str, inputs: Sequence[Any]
    ) -> keras.Model:
        """A functional or sequential model of smaller layers."""
        if type(model) is not keras.Sequential:
            nested = tree.pack_sequence_as(model.input, inputs)
            outputs = run_graph(model, nested, self.calling)
            return keras.Model(nested, outputs, name=name)
        (x,) = (first,) = inputs
        with keras.name_scope(name):  # for the paths of the weights
            for layer in model.layers:
                x = self.calling(layer)(x)
        smaller = [self.made[id(layer)] for layer in model.layers]
        if not all(isinstance(layer, layers.Layer) for layer in smaller):
            return keras.Model(first, x, name=name)
        for layer in smaller:
            forget_last_call(layer)
        return keras.Sequential([first, *smaller], name=name)

    def calling(self, operation: Any) -> Callable[..., Any]:
        """A function that calls what takes the place of an operation."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if id(operation) in self.made:
                return self.made[id(operation)](*args, **kwargs)
            # A call of the operation while its replacement is made stays.
            self.made[id(operation)] = operation
            try:
                replacement, outputs = self._first_call(
                    LayerCall(
                        operation,
                        self._names.get(id(operation), operation.name),
                        args,
                        kwargs,
                    )
                )
            except Exception as error:  # whatever layers raise
                # Keras may raise another error in place of this one.
                self._stuck = self._stuck or stuck_at(operation, error)
                raise self._stuck from error
            self.made[id(operation)] = replacement
            return outputs

        return call

    def _first_call(self, call: LayerCall) -> tuple[Any, Any]:
        """What takes the place of an operation, and its outputs."""
        operation = call.operation
        if not isinstance(operation, layers.Layer):
            reduction = self._values.reductions.get(id(operation))
            if reduction is not None and reduction.replacement is not None:
                replacement = reduction.replacement(call.name, call.args[0])
            else:
                replacement = _reduced_operation(operation, reduction)
            return replacement, call.of(replacement)
        if not self._values.change(operation):
            return self._unchanged(call)
        if id(operation) in self._values.reductions:
            self.ways[id(operation)] = Way.RULE
            return self._reduced(call)
        if type(operation) is layers.TimeDistributed:
            return self._in_each_step(call)
        if (
            not is_plain_model(operation)
            and Way.CONFIG not in self._avoid
            and not self._values.replaces(operation)
            and type(operation) not in self._unknown
        ):
            small = self.by_config(operation, _made_and_called(call))
            if small is not None:
                forget_last_call(small)
                self.ways[id(operation)] = Way.CONFIG
                return small, call.of(small)
        graph = graph_of(operation)
        if graph is not None:
            self.ways[id(operation)] = Way.EXPANDED
            inputs = list(_nested_inputs(graph, call.args))
            model = self.functional(operation, call.name, inputs)
            if not operation.trainable:
                model.trainable = False
            return model, call.of(model)
        return self.expanded(call)

    def _unchanged(self, call: LayerCall) -> tuple[Any, Any]:
        """A layer in which nothing changes, and its outputs."""
        layer = call.operation
        is_custom = not type(layer).__module__.startswith("keras.")
        copied = None
        if not is_custom or (
            Way.UNCHANGED not in self._avoid
            and type(layer) not in self._unknown
            and self._tells_all(layer)
        ):
            copied = copied_by_config(layer, call.name, call.of)
        if copied is None and is_custom and graph_of(layer) is None:
            # A saved model could not hold the layer without a good config.
            stuck = self._stuck
            with suppress(Exception):  # whatever the layer raises
                return self.expanded(call)
            self._stuck = stuck
        self.ways[id(layer)] = Way.UNCHANGED
        if copied is None:
            copy = copied_attributes(layer, call.name)
            copied = copy, call.of(copy)
        copy, outputs = copied
        if copy is not layer:
            self._setters.append((layer, lambda: copy_values(layer, copy)))
        return copy, outputs

    def _in_each_step(self, call: LayerCall) -> tuple[Any, Any]:
        """A `TimeDistributed` of a smaller model or custom layer."""
        wrapper, tensor = call.operation, call.args[0]
        _, _, *sizes = tensor.shape
        step = keras.Input(sizes, dtype=tensor.dtype)
        outputs = self.calling(wrapper.layer)(step)
        inside = self.made[id(wrapper.layer)]
        if not isinstance(inside, layers.Layer):  # the calls inside of it
            inside = keras.Model(step, outputs, name=wrapper.layer.name)
        copy = layers.TimeDistributed(
            inside, name=call.name, dtype=wrapper.dtype_policy
        )
        if not wrapper.trainable:
            copy.trainable = False
        self.ways[id(wrapper)] = Way.EXPANDED
        return copy, call.of(copy)

    def _unused(self, name: str) -> str:
        """A name that no layer has yet, because names in a model differ."""
        count = self._uses[name]
        self._uses[name] += 1
        return f"{name}_{count}" if count else name

    def _reduced(self, call: LayerCall) -> tuple[Any, Any]:
        """A smaller layer of the same class, by the rule of its class."""
        layer = call.operation
        reduction = self._values.reductions[id(layer)]
        if reduction.replacement is not None:
            self.ways[id(layer)] = Way.OPERATIONS
            replacement = reduction.replacement(call.name, call.args[0])
            return replacement, call.of(replacement)
        copy = from_config(layer, {**reduction.config, "name": call.name})

        def set_values() -> None:
            for path, value in reduction.weights.items():
                attrgetter(path)(copy).assign(value)
            freeze_alike(layer, copy)
            if isinstance(layer, layers.Normalization):
                copy.finalize_state()

        self._setters.append((layer, set_values))
        return copy, call.of(copy)

    def expanded(self, call: LayerCall) -> tuple[Any, Any]:
        """The calls inside of a layer, in the place of the layer."""
        layer, name = call.operation, call.name
        if Way.EXPANDED in self._avoid:
            raise self.without_config(layer)
        if layer.activity_regularizer is not None:
            raise StuckError(layer, "it has a penalty on its activity")
        inputs = filter(keras.utils.is_keras_tensor, tree.flatten(call.args))
        if self._values.is_masked(layer) and not (
            any(map(carries_mask, inputs))
            or call.kwargs.get("mask") is not None
        ):
            raise StuckError(
                layer, "it gets a mask from outside the model that holds it"
            )
        saved = {id(variable) for variable in layer.weights}
        for variable in own_variables(layer):
            if id(variable) in saved and not self._values.is_read(variable):
                reason = f"its outputs do not depend on `{variable.name}`"
                raise StuckError(layer, reason)
        self.ways[id(layer)] = Way.EXPANDED
        inside = {id(part): part for part in flatten_layers(layer)[1:]}
        if layer is self._model:
            self._uses.clear()  # so that the layers inside keep their names
        for part in inside.values():
            if id(part) not in self._names:
                new = f"{name}_{part.name}".lstrip("_")
                self._names[id(part)] = self._unused(new)
        takes_training = "training" in inspect.signature(layer.call).parameters
        expansion = Expansion(layer, name, self._values, self._unused)

        def replacement(
            part: keras.layers.Layer,
        ) -> Callable[..., Any] | None:
            made = self.made.get(id(part))
            if id(part) not in inside or made is part:
                return None

            def call_part(*inner: Any, **options: Any) -> Any:
                if takes_training and not options.get("training"):
                    # The model passes on its own `training` to each layer.
                    options.pop("training", None)
                return self.calling(part)(*inner, **options)

            return call_part

        def call_inside(*inner: Any, **options: Any) -> Any:
            with expansion.entered((inner, options), replacement):
                return layer(*inner, **options)

        outputs = call.of(call_inside)
        self._setters.append((layer, expansion.set_values))
        return call_inside, outputs


def _reduced_operation(operation: Any, reduction: Reduction | None) -> Any:
    """An operation with other sizes in its config, such as a reshape."""
    if reduction is None:
        return operation
    config = {**operation.get_config(), **reduction.config}
    return type(operation).from_config(config)


def stuck_at(operation: Any, error: Exception) -> StuckError:
    if isinstance(error, StuckError):
        return error
    reason = f"it cannot be made smaller: {cause_of(error)}"
    return StuckError(operation, reason)


def _made_and_called(
    call: LayerCall,
) -> Callable[[Mapping[str, Any]], keras.layers.Layer]:
    """A function that makes a layer from a config, and calls the layer."""

    def make(config: Mapping[str, Any]) -> keras.layers.Layer:
        with trusting():
            copy = type(call.operation).from_config(
                {**config, "name": call.name}
            )
        call.of(copy)
        return copy

    return make


def _nested_inputs(graph: Graph, args: Sequence[Any]) -> Iterator[Any]:
    """Symbolic inputs of a nested model, in the sizes of its arguments."""
    arguments = tree.flatten(args[0])
    for tensor, argument in zip(graph.inputs, arguments, strict=True):
        shape = [
            size if size is None else new
            for size, new in zip(tensor.shape, argument.shape, strict=True)
        ]
        yield input_like(graph, tensor, shape)


def input_like(graph: Graph, tensor: Any, shape: Sequence[int | None]) -> Any:
    """A symbolic input like one of a graph, in another shape."""
    config = next(
        node.operation.get_config()
        for node in graph.nodes
        if any(t is tensor for t in node.output_tensors)
    )
    return layers.InputLayer.from_config(
        {**config, "batch_shape": tuple(shape)}
    ).output
