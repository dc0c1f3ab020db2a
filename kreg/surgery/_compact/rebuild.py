"""Rebuilding a model from copies of its layers that have fewer units."""

import warnings
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from kreg._keras_private import Graph, run_graph, trusting
from kreg.layers.channels.call import Reduction
from kreg.layers.channels.network import Kept, Signal
from kreg.surgery._compact.walk import Walk
from kreg.surgery.stripped_copy import without_kreg

# These layers are reused, not copied: their config lacks what they hold, and no
# channel changes them.
_REUSED = (
    layers.IntegerLookup,
    layers.Lambda,
    layers.StringLookup,
    layers.TextVectorization,
)


class Rebuild:
    """Makes smaller layers, and a model of them.

    Args:
        walk: the walk through a model.
        kept: which channels stay.
    """

    def __init__(self, walk: Walk, kept: Kept) -> None:
        self._walk, self._kept = walk, kept
        self._copies: dict[int, Any] = {}
        self._reductions: dict[int, Reduction] = {}

    def of(self, model: keras.Model) -> keras.Model:
        """The new model, with the weights of the kept channels."""
        small = self._model(model, self._walk.graph, self._walk.inputs)
        for layer, copy in list(self._copies.values()):
            if isinstance(layer, layers.Layer):
                self._set_weights(layer, copy)
        return small

    def copy_of(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """The copy of `layer` in the new model."""
        return self._copies[id(layer)][1]

    def _model(
        self, model: keras.Model, graph: Graph, signals: Sequence[Signal]
    ) -> keras.Model:
        inputs = {
            id(tensor): self._input(graph, tensor, signal)
            for tensor, signal in zip(graph.inputs, signals, strict=True)
        }
        if isinstance(model, keras.Sequential):
            (first,) = inputs.values()
            small = keras.Sequential(
                [first, *map(self._copy, model.layers)], name=model.name
            )
        else:
            nested = tree.map_structure(lambda t: inputs[id(t)], model.input)
            outputs = run_graph(model, nested, self._copy)
            small = keras.Model(nested, outputs, name=model.name)
        small.dtype_policy = model.dtype_policy
        if not model.trainable:
            small.trainable = False
        return small

    def _input(self, graph: Graph, tensor: Any, signal: Signal) -> Any:
        """A symbolic input with the kept channels."""
        shape = list(tensor.shape)
        if len(signal.channels):
            shape[signal.axis] = int(self._kept(signal.channels).sum())
        config = next(
            node.operation.get_config()
            for node in graph.nodes
            if any(t is tensor for t in node.output_tensors)
        )
        layer = layers.InputLayer.from_config(
            {**config, "batch_shape": tuple(shape)}
        )
        return layer.output

    def _copy(self, operation: Any) -> Any:
        if id(operation) not in self._copies:
            self._copies[id(operation)] = operation, self._new(operation)
        return self._copies[id(operation)][1]

    def _new(self, operation: Any) -> Any:
        if id(operation) in self._walk.parts:
            return self._model(operation, *self._walk.parts[id(operation)])
        if isinstance(operation, _REUSED):
            return operation
        try:
            with warnings.catch_warnings():
                # Keras warns that a lambda may not load elsewhere.
                warnings.simplefilter("ignore")
                config = without_kreg(operation.get_config())
            traced = self._walk.layers.get(id(operation))
            if traced is not None and traced.reduce is not None:
                reduction = traced.reduce(self._kept)
                self._reductions[id(operation)] = reduction
                config.update(reduction.config)
            with trusting():
                return type(operation).from_config(config)
        except Exception as error:
            raise ValueError(
                f"`model` cannot be copied: its layer `{operation.name}` "
                f"({type(operation).__name__}) cannot be made anew from its "
                "`get_config`. Give the class a `get_config` that returns all "
                f"arguments of its constructor. Received: {error}"
            ) from error

    def _set_weights(
        self, layer: keras.layers.Layer, copy: keras.layers.Layer
    ) -> None:
        if layer is copy or id(layer) in self._walk.parts:
            return
        reduction = self._reductions.get(id(layer))
        if reduction is None:
            _copy_weights(layer, copy)
        else:
            for name, value in reduction.weights.items():
                attrgetter(name)(copy).assign(value)
        if isinstance(layer, layers.Normalization):
            copy.finalize_state()


def _copy_weights(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    if len(layer.weights) != len(copy.weights):
        raise ValueError(
            f"`model` cannot be copied: its layer `{layer.name}` "
            f"({type(layer).__name__}) makes other weights when it is made "
            "anew from its `get_config`. Received: "
            f"{len(layer.weights)} weights, and {len(copy.weights)} in the copy"
        )
    for variable, new in _pairs(layer.weights, copy.weights):
        # A copy, because a step on JAX may reuse the memory of the array.
        new.assign(np.array(ops.convert_to_numpy(variable)))


def _pairs(
    weights: Sequence[keras.Variable], others: Sequence[keras.Variable]
) -> list[tuple[keras.Variable, keras.Variable]]:
    """The weights with the same names; in order where names are not unique.

    A layer that was quantized has its weights in another order than one that is
    made quantized, as `quantize("float8")` adds to those that are there.
    """
    by_name = {other.name: other for other in others}
    names = {weight.name for weight in weights}
    if len(names) == len(weights) and names == set(by_name):
        return [(weight, by_name[weight.name]) for weight in weights]
    return list(zip(weights, others, strict=True))
