"""The operations that use the outputs of each layer of a model."""

from collections.abc import Iterator
from typing import Any

import keras

from kreg._keras_private import Graph, flatten_layers, graph_of


class LayerConsumers:
    """The operations that use the outputs of each layer of a model.

    This is known for layers of `Sequential` and functional models, which may be
    nested.

    Args:
        model: the model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._users: dict[int, list[Any]] = {}
        self._outputs: dict[int, list[Any]] = {}
        self._same_tensors: dict[int, list[Any]] = {}
        self._called_for_inference: set[int] = set()
        self._seen_models: set[int] = set()
        graph = graph_of(model)
        if graph is not None:
            self._note_calls(model, graph)
            for tensor in graph.outputs:
                self._users.setdefault(id(tensor), []).append(None)

    def of(self, layer: keras.layers.Layer) -> list[Any]:
        """The operations that use the outputs of `layer`.

        None stands for an output of the model, or for a call of the layer with
        `training=False`. The list is empty for a layer outside of such graphs.
        """
        return [
            user
            for tensor in self._outputs.get(id(layer), ())
            for user in self._users_of(tensor)
        ]

    def _note_calls(self, model: keras.Model, graph: Graph) -> None:
        """Note the calls inside a model, and in models nested in it.

        Uses of the model's outputs are noted where the model is called.
        """
        if id(model) in self._seen_models:
            return
        self._seen_models.add(id(model))
        for node in graph.nodes:
            inner = graph_of(node.operation)
            if node.arguments.kwargs.get("training") is False:
                self._called_for_inference.update(
                    map(id, _layers(node.operation))
                )
            if inner is None:
                outputs = self._outputs.setdefault(id(node.operation), [])
                outputs.extend(node.output_tensors)
                for tensor in node.input_tensors:
                    users = self._users.setdefault(id(tensor), [])
                    users.append(node.operation)
                continue
            self._note_calls(node.operation, inner)
            self._connect(node.input_tensors, inner.inputs)
            self._connect(inner.outputs, node.output_tensors)

    def _connect(self, sources: Any, targets: Any) -> None:
        """Note that each source is the same tensor as its target.

        If their numbers differ, note an unknown use of each source.
        """
        if len(sources) != len(targets):
            for tensor in sources:
                self._users.setdefault(id(tensor), []).append(None)
            return
        for source, target in zip(sources, targets, strict=True):
            if source is not target:
                self._same_tensors.setdefault(id(source), []).append(target)

    def _users_of(self, tensor: Any) -> Iterator[Any]:
        waiting, seen = [tensor], {id(tensor)}
        while waiting:
            tensor = waiting.pop()
            for user in self._users.get(id(tensor), ()):
                yield None if id(user) in self._called_for_inference else user
            for target in self._same_tensors.get(id(tensor), ()):
                if id(target) not in seen:
                    seen.add(id(target))
                    waiting.append(target)


def _layers(operation: Any) -> list[Any]:
    if isinstance(operation, keras.Model):
        return flatten_layers(operation)
    return [operation]
