"""Which operations use the outputs of a layer."""

from collections.abc import Iterator
from typing import Any

import keras

from kreg._keras_private import Graph, flatten_layers, graph_of


class LayerConsumers:
    """The operations that use the outputs of each layer of a model.

    Only of `Sequential` and functional models, and of such models nested in
    them.

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
        """The operations that use the outputs of `layer`.

        None stands for a use that is no operation (the model's own outputs)
        and for layers that are called with `training=False`. Empty for a
        layer that is in no such graph.
        """
        return [
            user
            for tensor in self._outputs.get(id(layer), ())
            for user in self._users_of(tensor)
        ]

    def _enter(self, model: keras.Model, graph: Graph) -> None:
        """Note the calls inside a model.

        What the model hands to its caller is noted where it is called.
        """
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

    def _connect(self, sources: Any, targets: Any) -> None:
        """Note that tensors go on under other names.

        What becomes of them is unknown if they differ in number.
        """
        if len(sources) != len(targets):
            for tensor in sources:
                self._users.setdefault(id(tensor), []).append(None)
            return
        for source, target in zip(sources, targets, strict=True):
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
