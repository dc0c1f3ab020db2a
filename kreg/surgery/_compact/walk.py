"""Following the channels through a model and the models nested in it."""

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

SharedConstants = Mapping[int, Sequence[Values]]
"""The constants of the inputs of layers, by the `id` of the layer."""


def walk(
    model: keras.Model,
    drop_inputs: bool,
    stays: Mapping[int, str] | None = None,
) -> "Walk":
    """Follow the channels through a model.

    Where a layer is called more than once, its input is a constant only if all
    calls have the same value. A known constant may reveal others, so the walk
    is repeated until it finds no more.

    Args:
        model: a `Sequential` or functional model.
        drop_inputs: whether features of its inputs may be removed.
        stays: the reasons of layers and operations that must stay as they
            are, by their `id`. Defaults to `None`: there are none.

    Raises:
        ValueError: if the model is neither `Sequential` nor functional.
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
    stays = stays or {}
    walked = Walk(graph, drop_inputs, {}, stays)
    while walked.found_more:
        walked = Walk(graph, drop_inputs, walked.shared_constants, stays)
    return walked


class Walk:
    """The channels of a model, and what each layer does to them.

    Args:
        graph: the model's graph.
        drop_inputs: whether features of its inputs may be removed.
        shared_constants: the input constants that an earlier walk found equal
            in all calls of a layer, for each layer with several calls.
        stays: the reasons of layers and operations that must stay as they
            are, by their `id`.

    Attributes:
        graph: the model's graph.
        network: the channels of the model.
        inputs: the channels of each of its inputs.
        layers: the effect of each layer on channels, by the `id` of the layer.
        paths: the layers by their paths in reports, in the order of execution.
        parts: the graph of each nested model and the channels of its inputs,
            by the `id` of the model.
        shared_constants: the same, as found by this walk.
        found_more: whether this walk found more of them than the earlier one.
    """

    def __init__(
        self,
        graph: Graph,
        drop_inputs: bool,
        shared_constants: SharedConstants,
        stays: Mapping[int, str],
    ) -> None:
        self._stays = stays
        self.graph = graph
        self.network = Network()
        self.layers: dict[int, Traced] = {}
        self.paths: dict[str, keras.layers.Layer] = {}
        self.parts: dict[int, tuple[Graph, Sequence[Signal]]] = {}
        self.shared_constants: dict[int, list[Values]] = {}
        self._earlier = shared_constants
        self._calls: Counter[int] = Counter()
        self._inputs_of: dict[int, Sequence[Signal]] = {}
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
        self.found_more = _number_of_constants(
            self.shared_constants
        ) > _number_of_constants(shared_constants)

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
        inputs: Sequence[Signal],
        prefix: str,
        *,
        training: bool,
    ) -> list[Signal]:
        """Follow the signals through a graph; returns those of its outputs."""
        signals = {
            id(tensor): signal
            for tensor, signal in zip(graph.inputs, inputs, strict=True)
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
            keywords = node.arguments.kwargs
            masks = [id(t) for t in tree.flatten(keywords.get("mask"))]
            own_training = keywords.get("training")
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
                training if own_training is None else bool(own_training),
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
            self._note_shared_constants(call)
            if id(operation) in self.layers:
                return self._called_again(call)
            call = replace(call, signals=self._with_shared_constants(call))
        first = self._first_call(call)
        if isinstance(operation, keras.layers.Layer):
            self.layers[id(operation)] = first
            self._inputs_of[id(operation)] = call.signals
        return first.outputs

    def _note_shared_constants(self, call: Call) -> None:
        """Note the constants that this call shares with the earlier calls."""
        new = [signal.constants for signal in call.signals]
        before = self.shared_constants.setdefault(id(call.operation), new)
        if list(map(len, before)) == list(map(len, new)):
            self.shared_constants[id(call.operation)] = [
                np.where(a == b, a, np.nan)
                for a, b in zip(before, new, strict=True)
            ]

    def _with_shared_constants(self, call: Call) -> list[Signal]:
        """The inputs of the first call, constant only where all calls agree."""
        shared = self._earlier.get(id(call.operation))
        if shared is None or len(shared) != len(call.signals):
            return [signal.varying() for signal in call.signals]
        return [
            signal.with_constants(values)
            for signal, values in zip(call.signals, shared, strict=True)
        ]

    def _first_call(self, call: Call) -> Traced:
        if id(call.operation) in self._stays:
            return kept_whole(
                call, self.network, self._stays[id(call.operation)]
            )
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
        """Tie the inputs of a shared layer to those of its first call.

        Where the calls differ in form, all their channels are kept.
        """
        before = self._inputs_of[id(call.operation)]
        first = self.layers[id(call.operation)]
        alike = len(before) == len(call.signals) and all(
            a.axis == b.axis and len(a.channels) == len(b.channels)
            for a, b in zip(before, call.signals, strict=True)
        )
        if alike and len(first.outputs) == len(call.node.output_tensors):
            for a, b in zip(before, call.signals, strict=True):
                self.network.tie(a.channels, b.channels)
            return first.outputs
        kept_whole(
            replace(call, signals=[*before, *first.outputs]), self.network
        )
        return kept_whole(call, self.network).outputs


def has_size(operation: Any) -> bool:
    """Whether a layer takes only inputs with one number of channels."""
    return isinstance(operation, keras.layers.Layer) and (
        bool(operation.weights) or isinstance(operation, layers.Reshape)
    )


def _number_of_constants(constants: SharedConstants) -> int:
    return sum(
        int((~np.isnan(values)).sum())
        for inputs in constants.values()
        for values in inputs
    )
