"""The new values of a model's weights, once the channels to keep are known."""

from collections.abc import Collection, Mapping, Sequence
from math import prod
from operator import attrgetter
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._keras_private import (
    TracedCall,
    Weight,
    carries_mask,
    flatten_layers,
    graph_of,
    own_variables,
)
from kreg.layers.channels.call import Reduction
from kreg.layers.channels.network import Kept
from kreg.surgery._compact.walk import Walk

_Layer = keras.layers.Layer


class NewValues:
    """What changes in the weights and the configs of a model.

    Args:
        model: the model.
        reductions: how its layers and operations become smaller, by `id`.
        values: the new values of variables that custom layers use themselves,
            by `id`.
        calls: the calls inside the model, on which its outputs depend.
        masked: the layers whose calls get a mask, by `id`.

    Attributes:
        reductions: the reductions that change anything.
        of_variables: the new values of the variables that change, by `id`.
        added: the number of entries of the weights that a layer gets in
            addition, such as a bias, by the `id` of the layer.
    """

    def __init__(
        self,
        model: keras.Model,
        reductions: Mapping[int, Reduction],
        values: Mapping[int, NDArray[Any]],
        calls: Sequence[TracedCall] = (),
        masked: Collection[int] = (),
    ) -> None:
        self._masked = masked
        self._inside = {
            (id(call.owners[-1]), call.place): call.operation
            for call in calls
            if call.owners and not isinstance(call.operation, _Layer)
        }
        self._read = {
            id(call.operation.variable)
            for call in calls
            if isinstance(call.operation, Weight)
        }
        self.reductions: dict[int, Reduction] = dict(reductions)
        self.of_variables: dict[int, NDArray[Any]] = {}
        self.added: dict[int, int] = {}
        for variable in model.variables:
            value = values.get(id(variable))
            if value is not None and not _equals(variable, value):
                self.of_variables[id(variable)] = value
        for layer in flatten_layers(model):
            if id(layer) in reductions and not self._note(
                layer, reductions[id(layer)]
            ):
                del self.reductions[id(layer)]
        self._parts: dict[int, bool] = {}

    def _note(self, layer: keras.layers.Layer, reduction: Reduction) -> bool:
        """Note the new values of a layer; return whether there are any."""
        changes = reduction.replacement is not None
        for name, value in reduction.weights.items():
            variable = attrgetter(name)(layer)
            if variable is None:
                count = self.added.get(id(layer), 0) + np.size(value)
                self.added[id(layer)] = count
                changes = True
            elif not _equals(variable, value):
                self.of_variables[id(variable)] = value
                changes = True
        if not reduction.weights:
            config = layer.get_config()
            changes |= any(
                not _same(config[key], value)
                for key, value in reduction.config.items()
            )
        return changes

    def change(self, layer: Any) -> bool:
        """Whether anything changes in a layer or in those inside it."""
        if id(layer) not in self._parts:
            self._parts[id(layer)] = isinstance(
                layer, keras.layers.Layer
            ) and any(
                self._change_itself(part) for part in flatten_layers(layer)
            )
        return self._parts[id(layer)]

    def _change_itself(self, layer: keras.layers.Layer) -> bool:
        return any(key in self.reductions for key in _called_ids(layer)) or any(
            id(variable) in self.of_variables
            for variable in own_variables(layer)
        )

    def replaces(self, layer: keras.layers.Layer) -> bool:
        """Whether something else takes the place of a call inside a layer."""
        return any(
            reduction.replacement is not None
            for part in flatten_layers(layer)
            for reduction in map(self.reductions.get, _called_ids(part))
            if reduction is not None
        )

    def shape(self, variable: keras.Variable) -> tuple[int, ...]:
        """The new shape of a variable."""
        value = self.of_variables.get(id(variable))
        return tuple(variable.shape if value is None else value.shape)

    def value(self, variable: keras.Variable) -> NDArray[Any]:
        """The new value of a variable."""
        value = self.of_variables.get(id(variable))
        if value is None:
            # A copy, because a step on JAX may reuse the memory of the array.
            return np.array(ops.convert_to_numpy(variable))
        return value

    def operation_at(
        self, layer: keras.layers.Layer, place: tuple[int, int]
    ) -> tuple[Any, Reduction] | None:
        """An operation in the code of a layer, if its sizes change.

        Args:
            layer: a custom layer.
            place: the place of the operation, as in a `TracedCall`.

        Returns:
            The traced operation, and how it changes.
        """
        operation = self._inside.get((id(layer), place))
        reduction = self.reductions.get(id(operation))
        return None if reduction is None else (operation, reduction)

    def is_read(self, variable: keras.Variable) -> bool:
        """Whether a custom layer reads a variable for its outputs."""
        return id(variable) in self._read

    def is_masked(self, layer: keras.layers.Layer) -> bool:
        """Whether a layer gets a mask, by an argument or with a tensor."""
        return id(layer) in self._masked

    def number_of(self, model: keras.Model) -> int:
        """The number of parameters of a model with the new values."""
        sizes = (prod(self.shape(variable)) for variable in model.weights)
        return sum(sizes) + sum(self.added.values())

    def adds_weights(self, layer: keras.layers.Layer) -> bool:
        """Whether the layer or those inside it get further weights."""
        return any(id(part) in self.added for part in flatten_layers(layer))


def new_values(model: keras.Model, walked: Walk, kept: Kept) -> NewValues:
    """The new values of a model's weights.

    Args:
        model: the model.
        walked: the walk through it.
        kept: the channels that stay.
    """
    reductions = {
        key: traced.reduce(kept)
        for key, traced in walked.layers.items()
        if traced.reduce is not None
    }
    graph = walked.graph.graph
    for call in graph.calls:
        operation = call.operation
        reduction = reductions.get(id(operation))
        if (
            not reduction
            or reduction.replacement
            or isinstance(operation, _Layer)
        ):
            continue
        if all(
            _same(getattr(operation, name), value)
            for name, value in reduction.config.items()
        ):
            del reductions[id(operation)]
    return NewValues(
        model,
        reductions,
        walked.own_values(kept),
        graph.calls,
        {
            id(call.operation)
            for call in (*graph.composites, *graph.calls)
            if any(map(carries_mask, call.input_tensors))
            or call.arguments.kwargs.get("mask") is not None
        },
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two entries of a config are equal; lists are tuples in some."""
    return np.array_equal(np.asarray(one), np.asarray(other))


def _called_ids(layer: keras.layers.Layer) -> list[int]:
    """The `id`s of a layer and of what its graph calls, if it has one."""
    graph = graph_of(layer)
    nodes = graph.nodes if graph else ()
    return [id(layer), *(id(node.operation) for node in nodes)]


def _equals(variable: keras.Variable, value: NDArray[Any]) -> bool:
    if tuple(variable.shape) != np.shape(value):
        return False
    return bool(
        np.array_equal(
            ops.convert_to_numpy(ops.convert_to_tensor(variable)),
            value,
            equal_nan=variable.dtype.startswith(("float", "bfloat")),
        )
    )
