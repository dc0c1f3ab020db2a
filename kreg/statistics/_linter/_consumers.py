"""What the outputs of a layer go into, through nested models."""

from collections.abc import Iterator
from typing import Any

import keras

from kreg._keras_private import Graph, flatten_layers, graph_of


class Consumers:
    """The operations that use the outputs of each layer of a model.

    Seen in `Sequential` and functional models, and in those nested in them as
    far as they are such.

    Args:
        model: the model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._users: dict[int, list[Any]] = {}
        self._outputs: dict[int, list[Any]] = {}
        self._onward: dict[int, list[Any]] = {}
        self._inference: set[int] = set()
        self._entered: set[int] = set()
        graph = graph_of(model)
        if graph is not None:
            self._enter(model, graph)
            for tensor in graph.outputs:
                self._users.setdefault(id(tensor), []).append(None)

    def of(self, layer: keras.layers.Layer) -> list[Any]:
        """What uses the outputs of `layer`; None for what is not known.

        None stands for the model's own outputs, and for layers that are told
        to run as in inference. Empty for a layer that is not seen.
        """
        return [
            user
            for tensor in self._outputs.get(id(layer), ())
            for user in self._users_of(tensor)
        ]

    def _enter(self, model: keras.Model, graph: Graph) -> None:
        """Note the calls inside a model; what it gives its caller is noted
        where it is called."""
        if id(model) in self._entered:
            return
        self._entered.add(id(model))
        for node in graph.nodes:
            inner = graph_of(node.operation)
            if node.arguments.kwargs.get("training") is False:
                self._inference.update(map(id, _layers(node.operation)))
            if inner is None:
                outputs = self._outputs.setdefault(id(node.operation), [])
                outputs.extend(node.output_tensors)
                for tensor in node.input_tensors:
                    users = self._users.setdefault(id(tensor), [])
                    users.append(node.operation)
                continue
            self._enter(node.operation, inner)
            self._connect(node.input_tensors, inner.inputs)
            self._connect(inner.outputs, node.output_tensors)

    def _connect(self, given: Any, taken: Any) -> None:
        if len(given) != len(taken):
            for tensor in given:
                self._users.setdefault(id(tensor), []).append(None)
            return
        for source, target in zip(given, taken, strict=True):
            if source is not target:
                self._onward.setdefault(id(source), []).append(target)

    def _users_of(self, tensor: Any) -> Iterator[Any]:
        waiting, seen = [tensor], {id(tensor)}
        while waiting:
            tensor = waiting.pop()
            for user in self._users.get(id(tensor), ()):
                yield None if id(user) in self._inference else user
            for target in self._onward.get(id(tensor), ()):
                if id(target) not in seen:
                    seen.add(id(target))
                    waiting.append(target)


def _layers(operation: Any) -> list[Any]:
    if isinstance(operation, keras.Model):
        return flatten_layers(operation)
    return [operation]
