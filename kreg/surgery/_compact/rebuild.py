"""`Rebuild`: a smaller model, by its own config or of smaller layers."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import keras
import numpy as np
from keras import tree
from numpy.typing import NDArray

from kreg._keras_private import (
    flatten_layers,
    graph_of,
    is_plain_model,
    own_layers,
)
from kreg.surgery._compact.config_parts import parts_in, with_parts
from kreg.surgery._compact.new_values import NewValues
from kreg.surgery._compact.smaller_layers import (
    LayerCall,
    SmallerLayers,
    Way,
    input_like,
    stuck_at,
)
from kreg.surgery.stripped_copy import anew, config_without_kreg, weight_specs


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
        unknown: the classes of layers that Keras does not know in a file.
        build: calls a model on examples, so that it has weights.
        avoid: the ways not to take. Defaults to none.
        keep_class: whether the config of the whole model is the only way for
            a model that is not a plain functional one. Defaults to `False`.
    """

    def __init__(
        self,
        model: keras.Model,
        values: NewValues,
        declared: Any,
        inputs: Sequence[NDArray[np.bool_]],
        tells_all: Callable[[keras.layers.Layer], bool],
        unknown: Collection[type],
        build: Callable[[keras.Model], object],
        avoid: frozenset[Way] = frozenset(),
        *,
        keep_class: bool = False,
    ) -> None:
        self._keep_class = keep_class
        self._model, self._values = model, values
        self._declared = declared
        self._tells_all, self._unknown = tells_all, unknown
        self._inputs, self._build, self._avoid = inputs, build, avoid
        self._layers = SmallerLayers(model, values, tells_all, unknown, avoid)

    @property
    def ways(self) -> dict[int, Way]:
        """The way of each layer into the smaller model, by its `id`.

        Layers inside another one have an entry only if that was expanded.
        """
        return self._layers.ways

    @property
    def least_sizes(self) -> dict[tuple[int, int], int]:
        """The least sizes to ask for where no config of the model gives fewer.

        They are by the `id` of the variable and by the axis.
        """
        return self._layers.least_sizes

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
                raise self._layers.without_config(self._model)
            small = small or self._by_graph()
        except Exception as error:  # whatever a custom class raises
            raise stuck_at(self._model, error) from error
        self._layers.set_values()
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
            elif id(self._layers.made.get(id(layer))) in present:
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

        small = self._layers.by_config(model, make)
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
            self._unknown,
            self._build,
            self._avoid | {Way.MODEL_CONFIG},
        )
        parts.model()
        made = {
            name: parts._layers.made[id(part)] for name, part in held.items()
        }
        if any(type(made[name]) is not type(held[name]) for name in held):
            return None
        copy = make(with_parts(config, held, made))
        wanted = [self._values.shape(v) for v in model.weights]
        if [shape for shape, _ in weight_specs(copy)] != wanted:
            return None
        self._layers.set_later(model, copy)
        return copy

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
            inputs.append(input_like(graph, tensor, shape))
        return self._layers.functional(model, model.name, inputs)

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
        call = LayerCall(model, "", [nested], {})
        _, outputs = self._layers.expanded(call)
        return keras.Model(nested, outputs, name=model.name)
