"""Following the channels through a model, nested ones included."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from kreg._keras_private import Graph, graph_of
from kreg.layers.channels.call import Call, Traced, fresh_signal, kept_whole
from kreg.layers.channels.network import Network, Signal, Values
from kreg.layers.table import traced

Agreed = Mapping[int, Sequence[Values]]


def walk(model: keras.Model, drop_inputs: bool) -> "Walk":
    """Follow the channels through a model.

    What goes into a layer that is called more than once counts as constant
    where all of its calls agree, which is found by walking again.

    Args:
        model: a `Sequential` or functional model.
        drop_inputs: whether features of its inputs may go.

    Raises:
        ValueError: if the model is of another kind.
    """
    graph = graph_of(model)
    if graph is None:
        raise ValueError(
            "`model` must be a `Sequential` or a functional model, whose "
            "graph of layers is known: what a subclass computes in `call` "
            "cannot be seen. Build the part with the layers to be made "
            "smaller as a functional model. Received: model="
            f"{model!r} (of type {type(model).__name__})"
        )
    done = Walk(graph, drop_inputs, {})
    while done.has_learned:
        done = Walk(graph, drop_inputs, done.agreed)
    return done


class Walk:
    """What is known of each layer of a model.

    Args:
        graph: the model's graph.
        drop_inputs: whether features of its inputs may go.
        agreed: what all calls of a shared layer are known to be given, by its
            `id`; nothing is known of those that are not there.

    Attributes:
        graph: the model's graph.
        network: the channels of the model.
        inputs: the channels of each of its inputs.
        layers: what each layer does, by the `id` of the layer.
        paths: how reports name each layer, in the order of execution.
        parts: the graph of each nested model and the channels of its inputs,
            by the `id` of the model.
        agreed: what this walk found all calls of a shared layer to be given.
        has_learned: whether that is more than was known before.
    """

    def __init__(self, graph: Graph, drop_inputs: bool, agreed: Agreed) -> None:
        self.graph = graph
        self.network = Network()
        self.layers: dict[int, Traced] = {}
        self.paths: dict[str, keras.layers.Layer] = {}
        self.parts: dict[int, tuple[Graph, Sequence[Signal]]] = {}
        self.agreed: dict[int, list[Values]] = {}
        self._known = agreed
        self._calls: Counter[int] = Counter()
        self._given: dict[int, Sequence[Signal]] = {}
        self._count(graph, set())
        self.inputs = [fresh_signal(t, self.network) for t in graph.inputs]
        if not drop_inputs:
            for tensor, signal in zip(graph.inputs, self.inputs, strict=True):
                self.network.pin(
                    signal.channels, f"`{tensor.name}` is an input of the model"
                )
        outputs = self._follow(graph, self.inputs, "", training=False)
        for signal in outputs:
            self.network.pin(signal.channels, "it is an output of the model")
        self.has_learned = _known(self.agreed) > _known(agreed)

    def _count(self, graph: Graph, seen: set[int]) -> None:
        for node in graph.nodes:
            self._calls[id(node.operation)] += 1
            inner = graph_of(node.operation)
            if inner is not None and id(node.operation) not in seen:
                seen.add(id(node.operation))
                self._count(inner, seen)

    def _follow(
        self,
        graph: Graph,
        given: Sequence[Signal],
        prefix: str,
        *,
        training: bool,
    ) -> list[Signal]:
        """The signals that leave a graph."""
        signals = {
            id(tensor): signal
            for tensor, signal in zip(graph.inputs, given, strict=True)
        }
        for node in graph.nodes:
            if not node.input_tensors and not node.is_input:
                continue
            operation = node.operation
            if node.is_input:
                for tensor in node.output_tensors:
                    signals.setdefault(
                        id(tensor), fresh_signal(tensor, self.network)
                    )
                continue
            named = node.arguments.kwargs
            masks = [id(t) for t in tree.flatten(named.get("mask"))]
            told = named.get("training")
            call = Call(
                operation,
                f"{prefix}{operation.name}",
                [
                    signals[id(t)]
                    for t in node.input_tensors
                    if id(t) not in masks
                ],
                [signals[i] for i in masks if i in signals],
                node,
                training if told is None else bool(told),
            )
            for tensor, signal in zip(
                node.output_tensors, self._called(call), strict=True
            ):
                signals[id(tensor)] = signal
        return [signals[id(tensor)] for tensor in graph.outputs]

    def _called(self, call: Call) -> Sequence[Signal]:
        operation = call.operation
        if isinstance(operation, keras.layers.Layer):
            self.paths.setdefault(call.path, operation)
        if self._calls[id(operation)] > 1 and has_size(operation):
            self._agree(call)
            if id(operation) in self.layers:
                return self._called_again(call)
            call = replace(call, signals=self._common(call))
        done = self._first_call(call)
        if isinstance(operation, keras.layers.Layer):
            self.layers[id(operation)] = done
            self._given[id(operation)] = call.signals
        return done.outputs

    def _agree(self, call: Call) -> None:
        """Note what this call and those before are given alike."""
        given = [signal.constants for signal in call.signals]
        before = self.agreed.setdefault(id(call.operation), given)
        if list(map(len, before)) == list(map(len, given)):
            pairs = zip(before, given, strict=True)
            given = [np.where(a == b, a, np.nan) for a, b in pairs]
            self.agreed[id(call.operation)] = given

    def _common(self, call: Call) -> list[Signal]:
        """The channels of a first call, with what all calls are given."""
        known = self._known.get(id(call.operation))
        if known is None or len(known) != len(call.signals):
            return [signal.varying() for signal in call.signals]
        return [
            signal.with_constants(values)
            for signal, values in zip(call.signals, known, strict=True)
        ]

    def _first_call(self, call: Call) -> Traced:
        graph = graph_of(call.operation)
        if graph is None:
            return traced(call, self.network)
        if len(graph.inputs) != len(call.signals):
            return kept_whole(call, self.network)
        self.parts[id(call.operation)] = graph, call.signals
        return Traced(
            tuple(
                self._follow(
                    graph,
                    call.signals,
                    f"{call.path}/",
                    training=call.training,
                )
            )
        )

    def _called_again(self, call: Call) -> Sequence[Signal]:
        """Tie what goes into a shared layer to what went into it before."""
        before = self._given[id(call.operation)]
        done = self.layers[id(call.operation)]
        alike = len(before) == len(call.signals) and all(
            a.axis == b.axis and len(a.channels) == len(b.channels)
            for a, b in zip(before, call.signals, strict=True)
        )
        if alike and len(done.outputs) == len(call.node.output_tensors):
            for a, b in zip(before, call.signals, strict=True):
                self.network.tie(a.channels, b.channels)
            return done.outputs
        kept_whole(
            replace(call, signals=[*before, *done.outputs]), self.network
        )
        return kept_whole(call, self.network).outputs


def has_size(operation: Any) -> bool:
    """Whether all calls of a layer must see tensors of the same channels."""
    return isinstance(operation, keras.layers.Layer) and (
        bool(operation.weights) or isinstance(operation, layers.Reshape)
    )


def _known(agreed: Agreed) -> int:
    """How many constants are known."""
    return sum(
        int((~np.isnan(values)).sum())
        for given in agreed.values()
        for values in given
    )
