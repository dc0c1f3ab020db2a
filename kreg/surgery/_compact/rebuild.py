"""Rebuilding a model with smaller weights, and the ways to do so."""

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
    is_plain,
    one_line,
    own_layers,
    own_variables,
    run_graph,
    trusting,
)
from kreg.layers.channels.call import Reduction
from kreg.surgery._compact.config_parts import parts_in, with_parts
from kreg.surgery._compact.copies import (
    copied_attributes,
    copied_by_config,
    copy_values,
    described,
    freeze_alike,
    from_config,
)
from kreg.surgery._compact.expansion import Expansion
from kreg.surgery._compact.new_values import NewValues
from kreg.surgery._compact.smaller_configs import SmallerConfigs
from kreg.surgery.stripped_copy import anew, config_without_kreg


class Way(StrEnum):
    """How a layer gets into the smaller model."""

    MODEL_CONFIG = "config of the model"
    RULE = "rule of its class"
    OPERATIONS = "operations that know its constants"
    CONFIG = "config of the layer"
    EXPANDED = "layers inside it"
    UNCHANGED = "unchanged"
    LEFT_OUT = "left out, as the outputs do not depend on it"


_NO_CONFIG = "no config gives it the smaller weights"


class StuckError(Exception):
    """A layer cannot be made with the weights that it should have.

    Args:
        operation: the layer or operation.
        reason: why.
    """

    def __init__(self, operation: Any, reason: str) -> None:
        super().__init__(reason)
        self.operation, self.reason = operation, reason


class Rebuild:
    """Makes smaller layers, and a model of them.

    The first way that works is taken: the config of the whole model with other
    integers, then for each layer its own config, then the calls inside of it.

    Args:
        model: the model.
        values: what changes in its weights.
        declared: its symbolic inputs, in the structure that it is called on.
        inputs: for each input of the model, which features stay; empty if the
            input has no features that are known.
        tells_all: whether the config of a layer of one's own tells all that
            its code does.
        build: calls a model on examples, so that it has weights.
        avoid: the ways not to take.
        whole: whether the config of the whole model is the only way to take.

    Attributes:
        ways: how each layer got into the smaller model, by its `id`. Those
            inside one have no entry.
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
        whole: bool = False,
    ) -> None:
        self._whole = whole
        self._given, self._values = model, values
        self._declared, self._tells_all = declared, tells_all
        self._inputs, self._build, self._avoid = inputs, build, avoid
        self.ways: dict[int, Way] = {}
        self._made: dict[int, Any] = {}
        self._stuck: StuckError | None = None
        self._configs = SmallerConfigs(values, tells_all)
        self._names: dict[int, str] = {}
        self._uses = Counter({part.name for part in flatten_layers(model)})
        self._setters: list[tuple[Any, Callable[[], None]]] = []

    @property
    def least(self) -> dict[tuple[int, int], int]:
        """Sizes that the config of the model cannot give as they should be.

        By the `id` of the variable and the axis, with what it can give.
        """
        return self._configs.least

    def model(self) -> keras.Model:
        """The smaller model.

        Raises:
            StuckError: if a layer cannot be made.
        """
        try:
            small = self._by_model_config()
            if small is None and self._whole and not is_plain(self._given):
                raise self._without_config(self._given)
            small = small or self._by_graph()
        except Exception as error:  # whatever a class of one's own raises
            raise _stuck_at(self._given, error) from error
        for layer, set_values in self._setters:
            try:
                set_values()
            except Exception as error:  # the shapes may be others
                raise _stuck_at(layer, error) from error
        small.dtype_policy = self._given.dtype_policy
        if not self._given.trainable:
            small.trainable = False
        if self.ways.get(id(self._given)) is not Way.MODEL_CONFIG:
            self._note_left_out(small)
        return small

    def _note_left_out(self, small: keras.Model) -> None:
        """Note the layers that are not in the smaller model.

        Their outputs are not used, or the code around them calls them only in
        training or in another method.
        """
        present = {id(layer) for layer in flatten_layers(small)}
        copied: set[int] = set()
        others = []
        parts = own_layers(self._given)
        while parts:
            layer = parts.pop()
            if self.ways.get(id(layer)) is Way.EXPANDED:
                parts.extend(own_layers(layer))
            elif id(self._made.get(id(layer))) in present:
                copied.update(map(id, flatten_layers(layer)))
            else:
                others.append(layer)
        for layer in others:
            # A model may hold a layer that is part of another layer, too.
            if id(layer) not in copied:
                self.ways[id(layer)] = Way.LEFT_OUT

    def _by_model_config(self) -> keras.Model | None:
        """The model by its own config, with other integers."""
        model = self._given
        if (
            is_plain(model)
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

        found = self._searched(model, make)
        if found is None:
            with suppress(Exception):  # it may be anybody's
                found = self._of_smaller_parts(make)
        if found is not None:
            self.ways[id(model)] = Way.MODEL_CONFIG
        return found

    def _of_smaller_parts(
        self, make: Callable[[dict[str, Any]], keras.Model]
    ) -> keras.Model | None:
        """The model by its own config, which holds models that are smaller."""
        model = self._given
        config = config_without_kreg(model)
        held = parts_in(config, {p.name: p for p in own_layers(model)})
        if not any(map(is_plain, held.values())) or not self._tells_all(model):
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
        made = {name: parts._made[id(part)] for name, part in held.items()}
        if any(type(made[name]) is not type(held[name]) for name in held):
            return None
        copy = make(with_parts(config, held, made))
        wanted = [self._values.shape(v) for v in model.weights]
        if [shape for shape, _ in described(copy)] != wanted:
            return None
        set_values = partial(self._configs.set_values, model, copy)
        self._setters.append((model, set_values))
        return copy

    def _searched(
        self,
        layer: keras.layers.Layer,
        make: Callable[[dict[str, Any]], keras.layers.Layer],
    ) -> Any | None:
        """A layer by its own config, with other integers; None if none fits."""
        copy = self._configs.smaller(
            layer, make, sized_by_inputs=layer is not self._given
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
        model = self._given
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
        model = self._given
        inputs: list[Any] = []
        for path, tensor in tree.flatten_with_path(self._declared):
            shape = list(tensor.shape[1:])
            kept = self._inputs[len(inputs)]
            if len(kept):
                shape[-1] = int(kept.sum())
            # Keras wants the inputs in a dict to have the names of its keys.
            name = path[0] if isinstance(self._declared, dict) else None
            inputs.append(keras.Input(shape, dtype=tensor.dtype, name=name))
        nested = tree.pack_sequence_as(self._declared, inputs)
        _, outputs = self._expanded(model, "", [nested], {})
        return keras.Model(nested, outputs, name=model.name)

    def _functional(
        self, model: keras.Model, name: str, inputs: Sequence[Any]
    ) -> keras.Model:
        """A functional or sequential model, made of smaller layers."""
        if type(model) is not keras.Sequential:
            nested = tree.pack_sequence_as(model.input, inputs)
            outputs = run_graph(model, nested, self._calling)
            return keras.Model(nested, outputs, name=name)
        (x,) = (first,) = inputs
        with keras.name_scope(name):  # which is in the paths of its weights
            for layer in model.layers:
                x = self._calling(layer)(x)
        made = [self._made[id(layer)] for layer in model.layers]
        if not all(isinstance(layer, layers.Layer) for layer in made):
            return keras.Model(first, x, name=name)
        for layer in made:
            forget_last_call(layer)
        return keras.Sequential([first, *made], name=name)

    def _calling(self, operation: Any) -> Callable[..., Any]:
        """What is called in the place of an operation."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if id(operation) in self._made:
                return self._made[id(operation)](*args, **kwargs)
            # It may be called itself, where it needs no copy.
            self._made[id(operation)] = operation
            try:
                made, outputs = self._first_call(operation, args, kwargs)
            except Exception as error:  # whatever layers raise
                # Keras wraps what is raised inside of a `call`.
                self._stuck = self._stuck or _stuck_at(operation, error)
                raise self._stuck from error
            self._made[id(operation)] = made
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
                made = reduction.replacement(name, args[0])
            else:
                made = _reduced_operation(operation, reduction)
            return made, made(*args, **kwargs)
        if not self._values.change(operation):
            return self._unchanged(operation, name, args, kwargs)
        if id(operation) in self._values.reductions:
            self.ways[id(operation)] = Way.RULE
            return self._reduced(operation, name, args, kwargs)
        if (
            not is_plain(operation)
            and Way.CONFIG not in self._avoid
            and not self._values.replaces(operation)
        ):
            found = self._searched(
                operation, _called_anew(operation, name, args, kwargs)
            )
            if found is not None:
                forget_last_call(found)
                self.ways[id(operation)] = Way.CONFIG
                return found, found(*args, **kwargs)
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
        is_own = not type(layer).__module__.startswith("keras.")
        made = None
        if not is_own or (
            Way.UNCHANGED not in self._avoid and self._tells_all(layer)
        ):
            made = copied_by_config(layer, name, args, kwargs)
        if made is None and is_own and graph_of(layer) is None:
            # A file could not hold it as it is, among other layers.
            stuck = self._stuck
            with suppress(Exception):  # whatever the layer raises
                return self._expanded(layer, name, args, kwargs)
            self._stuck = stuck
        self.ways[id(layer)] = Way.UNCHANGED
        if made is None:
            copy = copied_attributes(layer, name)
            made = copy, copy(*args, **kwargs)
        copy, outputs = made
        if copy is not layer:
            self._setters.append((layer, lambda: copy_values(layer, copy)))
        return copy, outputs

    def _unused(self, name: str) -> str:
        """A name that no layer has, because a model has each name once."""
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
            made = reduction.replacement(name, args[0])
            return made, made(*args, **kwargs)
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
        if layer is self._given:
            self._uses.clear()  # the layers inside it may keep their names
        for part in inside.values():
            if id(part) not in self._names:
                new = f"{name}_{part.name}".lstrip("_")
                self._names[id(part)] = self._unused(new)
        takes_training = "training" in inspect.signature(layer.call).parameters
        expansion = Expansion(layer, name, self._values, self._unused)

        def replacement(
            part: keras.layers.Layer,
        ) -> Callable[..., Any] | None:
            if id(part) not in inside or self._made.get(id(part)) is part:
                return None

            def call(*inner: Any, **options: Any) -> Any:
                if takes_training and not options.get("training"):
                    # Each layer is then told by the model that is called.
                    options.pop("training", None)
                return self._calling(part)(*inner, **options)

            return call

        def called(*inner: Any, **options: Any) -> Any:
            with expansion.entered((inner, options), replacement):
                return layer(*inner, **options)

        outputs = called(*args, **kwargs)
        self._setters.append((layer, expansion.set_values))
        return called, outputs


def _reduced_operation(operation: Any, reduction: Reduction | None) -> Any:
    """An operation that is told other sizes, such as a reshape."""
    if reduction is None:
        return operation
    config = {**operation.get_config(), **reduction.config}
    return type(operation).from_config(config)


def _stuck_at(operation: Any, error: Exception) -> StuckError:
    if isinstance(error, StuckError):
        return error
    reason = f"it cannot be made smaller: {one_line(error)}"
    return StuckError(operation, reason)


# The methods of a model by which it is trained, or used.
_USES = (
    *("compile", "fit", "evaluate", "predict"),
    *("train_step", "test_step", "predict_step"),
    *("compute_loss", "compute_metrics"),
)


def does_more_than_its_layers(model: keras.Model) -> bool:
    """Whether its class has a way of its own to be trained, or used."""
    return any(
        getattr(type(model), name).__module__.split(".")[0] != "keras"
        for name in _USES
    )


def _called_anew(
    layer: keras.layers.Layer,
    name: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Callable[[Mapping[str, Any]], keras.layers.Layer]:
    """A function that makes a layer from a config, and calls it."""

    def make(config: Mapping[str, Any]) -> keras.layers.Layer:
        with trusting():
            copy = type(layer).from_config({**config, "name": name})
        copy(*args, **kwargs)
        return copy

    return make


def _nested_inputs(graph: Graph, args: Sequence[Any]) -> Iterator[Any]:
    """The inputs of a nested model, with the sizes that it is called on."""
    given = tree.flatten(args[0])
    for tensor, outer in zip(graph.inputs, given, strict=True):
        shape = [
            size if size is None else new
            for size, new in zip(tensor.shape, outer.shape, strict=True)
        ]
        yield _input_like(graph, tensor, shape)


def _input_like(graph: Graph, tensor: Any, shape: Sequence[int | None]) -> Any:
    """A symbolic input of another shape."""
    config = next(
        node.operation.get_config()
        for node in graph.nodes
        if any(t is tensor for t in node.output_tensors)
    )
    return layers.InputLayer.from_config(
        {**config, "batch_shape": tuple(shape)}
    ).output
