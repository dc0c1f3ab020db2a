"""Rebuilding a model from smaller layers, and the ways to make each layer."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Any

import keras
import numpy as np
from keras import layers, tree
from numpy.typing import NDArray

from kreg._keras_private import (
    Graph,
    flatten_layers,
    forget_last_call,
    graph_of,
    is_plain_model,
    own_layers,
    own_variables,
    run_graph,
    trusting,
)
from kreg.error_messages import cause_of
from kreg.layers.channels.call import Reduction
from kreg.surgery._compact.config_parts import parts_in, with_parts
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
from kreg.surgery.stripped_copy import anew, config_without_kreg, weight_specs


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


class Rebuild:
    """Makes smaller layers, and a model of them.

    The config of the whole model with other integers is tried first. Otherwise
    each layer is made by its own config, or else by the calls inside of it.

    Args:
        model: the model.
        values: what changes in its weights.
        declared: its symbolic inputs, in the structure that it is called on.
        inputs: which features of each input of the model stay; empty for an
            input whose features are not known.
        tells_all: whether the config of a custom layer tells all that its code
            does.
        build: calls a model on examples, so that it has weights.
        avoid: the ways not to take. Defaults to none.
        keep_class: whether the config of the whole model is the only way for
            a model that is not a plain functional one. Defaults to `False`.

    Attributes:
        ways: the way of each layer into the smaller model, by its `id`. Layers
            inside another one have an entry only if that one was expanded.
    """

    def __init__(
        self,
        model: keras.Model,
        values: NewValues,
        declared: Any,
        inputs: Sequence[NDArray[np.bool_]],
        tells_all: Callable[[keras.layers.Layer], bool],
        build: Callable[[keras.Model], object],
        avoid: frozenset[Way] = frozenset(),
        *,
        keep_class: bool = False,
    ) -> None:
        self._keep_class = keep_class
        self._model, self._values = model, values
        self._declared, self._tells_all = declared, tells_all
        self._inputs, self._build, self._avoid = inputs, build, avoid
        self.ways: dict[int, Way] = {}
        self._replacements: dict[int, Any] = {}
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

    def model(self) -> keras.Model:
        """The smaller model.

        Raises:
            StuckError: if a layer cannot be made.
        """
        try:
            small = self._by_model_config()
            if (
                small is None
                and self._keep_class
                and not is_plain_model(self._model)
            ):
                raise self._without_config(self._model)
            small = small or self._by_graph()
        except Exception as error:  # whatever a custom class raises
            raise _stuck_at(self._model, error) from error
        for layer, set_values in self._setters:
            try:
                set_values()
            except Exception as error:  # the shapes may differ
                raise _stuck_at(layer, error) from error
        small.dtype_policy = self._model.dtype_policy
        if not self._model.trainable:
            small.trainable = False
        if self.ways.get(id(self._model)) is not Way.MODEL_CONFIG:
            self._note_left_out(small)
        return small

    def _note_left_out(self, small: keras.Model) -> None:
        """Note the layers that are not in the smaller model.

        Either their outputs are not used, or the code around them calls them
        only in training or in another method.
        """
        present = {id(layer) for layer in flatten_layers(small)}
        copied: set[int] = set()
        others = []
        parts = own_layers(self._model)
        while parts:
            layer = parts.pop()
            if self.ways.get(id(layer)) is Way.EXPANDED:
                parts.extend(own_layers(layer))
            elif id(self._replacements.get(id(layer))) in present:
                copied.update(map(id, flatten_layers(layer)))
            else:
                others.append(layer)
        for layer in others:
            # A model may hold a layer that is part of another layer, too.
            if id(layer) not in copied:
                self.ways[id(layer)] = Way.LEFT_OUT

    def _by_model_config(self) -> keras.Model | None:
        """The model by its own config, with other integers."""
        model = self._model
        if (
            is_plain_model(model)
            or Way.MODEL_CONFIG in self._avoid
            or self._values.adds_weights(model)
            or self._values.replaces(model)
            or not all(map(np.all, self._inputs))
        ):
            return None

        def make(config: dict[str, Any]) -> keras.Model:
            copy = anew(model, config)
            if not copy.built or not copy.weights:
                self._build(copy)
            return copy

        small = self._by_config(model, make)
        if small is None:
            with suppress(Exception):  # code of others may raise anything
                small = self._of_smaller_parts(make)
        if small is not None:
            self.ways[id(model)] = Way.MODEL_CONFIG
        return small

    def _of_smaller_parts(
        self, make: Callable[[dict[str, Any]], keras.Model]
    ) -> keras.Model | None:
        """The model by its own config, which holds models that are smaller."""
        model = self._model
        config = config_without_kreg(model)
        held = parts_in(config, {p.name: p for p in own_layers(model)})
        if not any(map(is_plain_model, held.values())) or not self._tells_all(
            model
        ):
            return None
        parts = Rebuild(
            model,
            self._values,
            self._declared,
            self._inputs,
            self._tells_all,
            self._build,
            self._avoid | {Way.MODEL_CONFIG},
        )
        parts.model()
        made = {
            name: parts._replacements[id(part)] for name, part in held.items()
        }
        if any(type(made[name]) is not type(held[name]) for name in held):
            return None
        copy = make(with_parts(config, held, made))
        wanted = [self._values.shape(v) for v in model.weights]
        if [shape for shape, _ in weight_specs(copy)] != wanted:
            return None
        set_values = partial(self._configs.set_values, model, copy)
        self._setters.append((model, set_values))
        return copy

    def _by_config(
        self,
        layer: keras.layers.Layer,
        make: Callable[[dict[str, Any]], keras.layers.Layer],
    ) -> Any | None:
        """A layer by its own config, with other integers; None if none fits."""
        copy = self._configs.smaller(
            layer, make, sized_by_inputs=layer is not self._model
        )
        if copy is not None:
            set_values = partial(self._configs.set_values, layer, copy)
            self._setters.append((layer, set_values))
        return copy

    def _without_config(self, layer: keras.layers.Layer) -> StuckError:
        return StuckError(
            layer, self._configs.reasons.get(id(layer), _NO_CONFIG)
        )

    def _by_graph(self) -> keras.Model:
        """A model of smaller layers, by the graph or the code of the model."""
        model = self._model
        graph = graph_of(model)
        if graph is None:
            return self._by_code()
        inputs = []
        for tensor, kept in zip(graph.inputs, self._inputs, strict=True):
            shape = list(tensor.shape)
            if len(kept):
                shape[-1] = int(kept.sum())
            inputs.append(_input_like(graph, tensor, shape))
        return self._functional(model, model.name, inputs)

    def _by_code(self) -> keras.Model:
        """A functional model of the calls in the code of a subclass."""
        model = self._model
        inputs: list[Any] = []
        for path, tensor in tree.flatten_with_path(self._declared):
            shape = list(tensor.shape[1:])
            kept = self._inputs[len(inputs)]
            if len(kept):
                shape[-1] = int(kept.sum())
            # Keras demands that inputs in a dict have the names of its keys.
            name = path[0] if isinstance(self._declared, dict) else None
            inputs.append(keras.Input(shape, dtype=tensor.dtype, name=name))
        nested = tree.pack_sequence_as(self._declared, inputs)
        _, outputs = self._expanded(model, "", [nested], {})
        return keras.Model(nested, outputs, name=model.name)

    def _functional(
        self, model: keras.Model, name: str, inputs: Sequence[Any]
    ) -> keras.Model:
        """A functional or sequential model of smaller layers."""
        if type(model) is not keras.Sequential:
            nested = tree.pack_sequence_as(model.input, inputs)
            outputs = run_graph(model, nested, self._calling)
            return keras.Model(nested, outputs, name=name)
        (x,) = (first,) = inputs
        with keras.name_scope(name):  # for the paths of the weights
            for layer in model.layers:
                x = self._calling(layer)(x)
        smaller = [self._replacements[id(layer)] for layer in model.layers]
        if not all(isinstance(layer, layers.Layer) for layer in smaller):
            return keras.Model(first, x, name=name)
        for layer in smaller:
            forget_last_call(layer)
        return keras.Sequential([first, *smaller], name=name)

    def _calling(self, operation: Any) -> Callable[..., Any]:
        """A function that calls what takes the place of an operation."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if id(operation) in self._replacements:
                return self._replacements[id(operation)](*args, **kwargs)
            # A call of the operation while its replacement is made stays.
            self._replacements[id(operation)] = operation
            try:
                replacement, outputs = self._first_call(operation, args, kwargs)
            except Exception as error:  # whatever layers raise
                # Keras may raise another error in place of this one.
                self._stuck = self._stuck or _stuck_at(operation, error)
                raise self._stuck from error
            self._replacements[id(operation)] = replacement
            return outputs

        return call

    def _first_call(
        self, operation: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        """What takes the place of an operation, and its outputs."""
        name = self._names.get(id(operation), operation.name)
        if not isinstance(operation, layers.Layer):
            reduction = self._values.reductions.get(id(operation))
            if reduction is not None and reduction.replacement is not None:
                replacement = reduction.replacement(name, args[0])
            else:
                replacement = _reduced_operation(operation, reduction)
            return replacement, replacement(*args, **kwargs)
        if not self._values.change(operation):
            return self._unchanged(operation, name, args, kwargs)
        if id(operation) in self._values.reductions:
            self.ways[id(operation)] = Way.RULE
            return self._reduced(operation, name, args, kwargs)
        if (
            not is_plain_model(operation)
            and Way.CONFIG not in self._avoid
            and not self._values.replaces(operation)
        ):
            small = self._by_config(
                operation, _made_and_called(operation, name, args, kwargs)
            )
            if small is not None:
                forget_last_call(small)
                self.ways[id(operation)] = Way.CONFIG
                return small, small(*args, **kwargs)
        graph = graph_of(operation)
        if graph is not None:
            self.ways[id(operation)] = Way.EXPANDED
            model = self._functional(
                operation, name, list(_nested_inputs(graph, args))
            )
            if not operation.trainable:
                model.trainable = False
            return model, model(*args, **kwargs)
        return self._expanded(operation, name, args, kwargs)

    def _unchanged(
        self,
        layer: keras.layers.Layer,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> tuple[Any, Any]:
        """A layer in which nothing changes, and its outputs."""
        is_custom = not type(layer).__module__.startswith("keras.")
        copied = None
        if not is_custom or (
            Way.UNCHANGED not in self._avoid and self._tells_all(layer)
        ):
            copied = copied_by_config(layer, name, args, kwargs)
        if copied is None and is_custom and graph_of(layer) is None:
            # A saved model could not hold the layer without a good config.
            stuck = self._stuck
            with suppress(Exception):  # whatever the layer raises
                return self._expanded(layer, name, args, kwargs)
            self._stuck = stuck
        self.ways[id(layer)] = Way.UNCHANGED
        if copied is None:
            copy = copied_attributes(layer, name)
            copied = copy, copy(*args, **kwargs)
        copy, outputs = copied
        if copy is not layer:
            self._setters.append((layer, lambda: copy_values(layer, copy)))
        return copy, outputs

    def _unused(self, name: str) -> str:
        """A name that no layer has yet, because names in a model differ."""
        count = self._uses[name]
        self._uses[name] += 1
        return f"{name}_{count}" if count else name

    def _reduced(
        self,
        layer: keras.layers.Layer,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> tuple[Any, Any]:
        """A smaller layer of the same class, by the rule of its class."""
        reduction = self._values.reductions[id(layer)]
        if reduction.replacement is not None:
            self.ways[id(layer)] = Way.OPERATIONS
            replacement = reduction.replacement(name, args[0])
            return replacement, replacement(*args, **kwargs)
        copy = from_config(layer, {**reduction.config, "name": name})

        def set_values() -> None:
            for path, value in reduction.weights.items():
                attrgetter(path)(copy).assign(value)
            freeze_alike(layer, copy)
            if isinstance(layer, layers.Normalization):
                copy.finalize_state()

        self._setters.append((layer, set_values))
        return copy, copy(*args, **kwargs)

    def _expanded(
        self,
        layer: keras.layers.Layer,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> tuple[Any, Any]:
        """The calls inside of a layer, in the place of the layer."""
        if Way.EXPANDED in self._avoid:
            raise self._without_config(layer)
        if layer.activity_regularizer is not None:
            raise StuckError(layer, "it has a penalty on its activity")
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
            made = self._replacements.get(id(part))
            if id(part) not in inside or made is part:
                return None

            def call(*inner: Any, **options: Any) -> Any:
                if takes_training and not options.get("training"):
                    # The model passes on its own `training` to each layer.
                    options.pop("training", None)
                return self._calling(part)(*inner, **options)

            return call

        def call_inside(*inner: Any, **options: Any) -> Any:
            with expansion.entered((inner, options), replacement):
                return layer(*inner, **options)

        outputs = call_inside(*args, **kwargs)
        self._setters.append((layer, expansion.set_values))
        return call_inside, outputs


def _reduced_operation(operation: Any, reduction: Reduction | None) -> Any:
    """An operation with other sizes in its config, such as a reshape."""
    if reduction is None:
        return operation
    config = {**operation.get_config(), **reduction.config}
    return type(operation).from_config(config)


def _stuck_at(operation: Any, error: Exception) -> StuckError:
    if isinstance(error, StuckError):
        return error
    reason = f"it cannot be made smaller: {cause_of(error)}"
    return StuckError(operation, reason)


def _made_and_called(
    layer: keras.layers.Layer,
    name: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Callable[[Mapping[str, Any]], keras.layers.Layer]:
    """A function that makes a layer from a config, and calls the layer."""

    def make(config: Mapping[str, Any]) -> keras.layers.Layer:
        with trusting():
            copy = type(layer).from_config({**config, "name": name})
        copy(*args, **kwargs)
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
        yield _input_like(graph, tensor, shape)


def _input_like(graph: Graph, tensor: Any, shape: Sequence[int | None]) -> Any:
    """A symbolic input like one of a graph, in another shape."""
    config = next(
        node.operation.get_config()
        for node in graph.nodes
        if any(t is tensor for t in node.output_tensors)
    )
    return layers.InputLayer.from_config(
        {**config, "batch_shape": tuple(shape)}
    ).output
