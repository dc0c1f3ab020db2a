"""Following channels through the calls of a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, tree
from numpy.typing import NDArray

from kreg._keras_private import (
    TracedCall,
    Weight,
    flatten_layers,
    graph_of,
    is_plain_model,
)
from kreg.error_messages import one_line
from kreg.layers.channels.call import (
    Call,
    Traced,
    every_number,
    fresh_signal,
    kept_whole,
    matrix,
    signal_without_channels,
    weight_channels,
)
from kreg.layers.channels.network import (
    Kept,
    Network,
    Operand,
    Parameter,
)
from kreg.layers.table import traced
from kreg.surgery._compact.graphs import SizedGraph, path_of_call, sized_graph
from kreg.surgery._compact.shared_layers import SharedConstants, SharedLayers
from kreg.surgery._compact.tokens import Tokens, dropped_tokens


# What infinite weights give counts as varying.
@np.errstate(invalid="ignore", over="ignore")
def walk(
    model: keras.Model,
    drop_inputs: bool,
    sample: Any = None,
    opaque: Mapping[int, str] | None = None,
    *,
    norms_as_operations: bool = False,
    drop_tokens: Any = None,
    as_zeros: bool = False,
) -> "Walk":
    """Follow the channels through a model.

    An input of a layer that is called more than once is constant only if it
    has the same value in all calls. Each constant may make others constant, so
    the walk is repeated until it finds no more.

    Args:
        model: a built model of any kind.
        drop_inputs: whether features of its inputs may be removed.
        sample: its inputs. Needed only for a model whose inputs are not known
            from its layers. Defaults to `None`.
        opaque: why layers and operations stay as they are, by their `id`.
            Defaults to `None`: none do.
        norms_as_operations: whether normalizations may become operations that
            know the sums of constant channels. Defaults to `False`.
        drop_tokens: the ids that go with their rows of embeddings, as for
            `compact`. Defaults to `None`: none.
        as_zeros: whether all channels count as 0, as if all weights were. Then
            a channel stays only if it must for any values of the weights.
            Defaults to `False`.

    Raises:
        ValueError: if the inputs of the model are not known, or if no ids of
            an input in `drop_tokens` can go.
    """
    graph = sized_graph(model, sample, opaque)
    tokens = dropped_tokens(graph, drop_tokens)
    settings = drop_inputs, opaque or {}, norms_as_operations, tokens, as_zeros
    walked = Walk(graph, {}, *settings)
    while walked.shared.found_more:
        walked = Walk(graph, walked.shared.constants, *settings)
    return walked


class Walk:
    """The channels of a model, and what each layer does to them.

    Args:
        graph: the graph of the model.
        earlier_constants: the constants of shared layers that an earlier walk
            has found.
        drop_inputs: whether features of its inputs may be removed.
        opaque: why layers and operations stay as they are, by their `id`.
        norms_as_operations: whether normalizations may become operations.
        tokens: the ids that go with their rows of embeddings.
        as_zeros: whether all channels count as 0.

    Attributes:
        graph: the same.
        tokens: the same.
        network: the channels of the model.
        inputs: the channels of each of its inputs.
        outputs: the channels of each of its outputs.
        layers: what each layer and operation does to channels, by its `id`,
            without layers and models that were looked into.
        inputs_of: the channels that enter each of these in its first call, by
            its `id`.
        paths: the same layers by their paths in reports, in the order of
            execution.
        not_followed: why layers were not looked into, by their `id`.
        shared: the layers that are called more than once.
    """

    def __init__(
        self,
        graph: SizedGraph,
        earlier_constants: SharedConstants,
        drop_inputs: bool,
        opaque: Mapping[int, str],
        norms_as_operations: bool,
        tokens: Tokens,
        as_zeros: bool,
    ) -> None:
        self.graph, self.tokens = graph, tokens
        self.network = Network(tokens.unused_rows)
        self.layers: dict[int, Traced] = {}
        self.inputs_of: dict[int, Sequence[Operand]] = {}
        self.paths: dict[str, keras.layers.Layer] = {}
        self.not_followed: dict[int, str] = {}
        self.shared = SharedLayers(self.network, earlier_constants)
        self._opaque = opaque
        self._norms_as_operations = norms_as_operations
        self._as_zeros = as_zeros
        calls = graph.graph.calls
        self._calls = Counter(id(call.operation) for call in calls)
        self._shared_weights = _shared_weights(graph)
        self._operands: dict[int, Operand] = {}
        self.inputs = []
        pairs = zip(graph.inputs, graph.graph.inputs, strict=True)
        for declared, tensor in pairs:
            signal = fresh_signal(declared, self.network)
            self.inputs.append(signal)
            self._operands[id(tensor)] = signal
            if not drop_inputs:
                self.network.pin(
                    signal.channels,
                    f"`{declared.name}` is an input of the model",
                )
        for call in calls:
            self._follow(call)
        read = {id(t) for call in calls for t in call.input_tensors}
        for call in graph.graph.aside:
            if read.isdisjoint(map(id, call.output_tensors)):
                self._pin_outputs(call)
        self.outputs = [self._operands[id(t)] for t in graph.graph.outputs]
        for operand in self.outputs:
            for channels in every_number(operand):
                self.network.pin(channels, "it is an output of the model")
        for tensor in graph.graph.losses:
            for channels in every_number(self._operand(tensor)):
                self.network.pin(channels, "it is a loss of the model")
        for call in graph.graph.composites:
            operands = [self._operand(tensor) for tensor in call.input_tensors]
            self.shared.tie_composite(call, operands)

    def own_values(self, kept: Kept) -> dict[int, NDArray[Any]]:
        """The new values of variables that custom layers use themselves.

        Args:
            kept: the channels that stay.

        Returns:
            The values by the `id` of the variable.
        """
        values: dict[int, NDArray[Any]] = {}
        for key, (variable, axes) in self.network.variables.items():
            value = matrix(variable)
            for axis, channels in enumerate(axes):
                if channels is not None:
                    value = np.compress(kept(channels), value, axis=axis)
            values[key] = value
        return values

    def _follow(self, node: TracedCall) -> None:
        """Follow the channels through one call."""
        if isinstance(node.operation, Weight):
            outputs: Sequence[Operand] = [self._read(node.operation.variable)]
        elif not node.input_tensors:
            outputs = [
                fresh_signal(t, self.network) for t in node.output_tensors
            ]
        else:
            outputs = self._called(self._call(node))
        for tensor, operand in zip(node.output_tensors, outputs, strict=True):
            self._operands[id(tensor)] = (
                _zeros(operand) if self._as_zeros else operand
            )

    def _pin_outputs(self, node: TracedCall) -> None:
        """Keep the outputs of a layer on which no output of the model depends.

        Its inputs stay then, too. The layer is still called on them. If the
        outputs depend on another call of the layer, the code around it may use
        the sizes of this one.
        """
        operation = node.operation
        if not getattr(operation, "weights", ()):
            return
        aside = [c for c in self.graph.graph.aside if c.operation is operation]
        is_used = len(aside) < self._calls[id(operation)]
        what = "one call of " if is_used else ""
        for tensor in node.output_tensors:
            for channels in every_number(self._operands[id(tensor)]):
                self.network.pin(
                    channels,
                    f"the outputs of the model do not depend on {what}"
                    f"`{path_of_call(node)}`",
                )

    def _call(self, node: TracedCall) -> Call:
        """A call in the graph, with the channels of its inputs."""
        operands = [self._operand(tensor) for tensor in node.input_tensors]
        masks = {
            id(t)
            for t in tree.flatten(node.arguments.kwargs.get("mask"))
            if isinstance(node.operation, layers.Layer)
        }
        pairs = list(zip(node.input_tensors, operands, strict=True))
        training = node.arguments.kwargs.get("training")
        if training is None:
            training = node.training
        is_called_once = self._calls[id(node.operation)] == 1
        return Call(
            node.operation,
            path_of_call(node),
            operands,
            [o for t, o in pairs if id(t) not in masks],
            [o for t, o in pairs if id(t) in masks],
            node,
            bool(training),
            self.graph.twins.get(id(node)),
            is_called_once and all(map(is_plain_model, node.owners)),
            self._norms_as_operations
            and (is_called_once or _takes_one_width(node.operation)),
        )

    def _operand(self, tensor: Any) -> Operand:
        operand = self._operands.get(id(tensor))
        if operand is None:
            return signal_without_channels(len(tensor.shape))
        return operand

    def _read(self, variable: keras.Variable) -> Operand:
        """The channels of a variable that a custom layer uses itself."""
        values = matrix(variable)
        key = id(variable)
        if key not in self.network.variables:
            axes = [
                self.network.new(size, 0).channels if size > 1 else None
                for size in values.shape
            ]
            self.network.variables[key] = variable, axes
            unused = self.tokens.unused_rows.get(key)
            if unused is not None and axes[0] is not None:
                self.network.unused.update(axes[0][unused].tolist())
        axes = self.network.variables[key][1]
        parts = [
            (channels, (axis,))
            for axis, channels in enumerate(axes)
            if channels is not None
        ]
        for channels, _ in parts if key in self._shared_weights else ():
            self.network.pin(channels, self._shared_weights[key])
        return weight_channels(values, parts, self.network)

    def _called(self, call: Call) -> Sequence[Operand]:
        """The channels of the outputs of a call."""
        operation = call.operation
        if isinstance(operation, keras.layers.Layer):
            self.paths.setdefault(call.path, operation)
        if self._calls[id(operation)] > 1 and _takes_one_width(operation):
            self.shared.note_constants(call)
            if id(operation) in self.layers:
                return self.shared.outputs_again(
                    call,
                    self.inputs_of[id(operation)],
                    self.layers[id(operation)],
                )
            call = self.shared.with_constants(call)
        first = self._first_call(call)
        self.layers[id(operation)] = first
        self.inputs_of[id(operation)] = call.operands
        return first.outputs

    def _first_call(self, call: Call) -> Traced:
        reason = self._opaque.get(id(call.operation), call.node.reason)
        if reason is not None:
            self.not_followed[id(call.operation)] = reason
            kind = type(call.operation).__name__
            why = f"({kind}) is kept whole: {reason}" if reason else None
            return kept_whole(call, self.network, why)
        if isinstance(call.operation, keras.layers.Layer):
            for variable in call.operation.variables:
                if id(variable) in self._shared_weights:
                    why = self._shared_weights[id(variable)]
                    self.not_followed[id(call.operation)] = why
                    return kept_whole(call, self.network, f"is kept: {why}")
            if _is_inside(call.node) and _lacks_bias(call.operation):
                # The code around the layer decides that it has no bias, so
                # none can make up for a constant.
                call = call.on([_only_zeros(o) for o in call.operands])
        try:
            return traced(call, self.network)
        except Exception as error:  # a rule may not foresee all custom code
            why = f"cannot be followed ({one_line(error)})"
            self.not_followed[id(call.operation)] = why
            return kept_whole(call, self.network, why)


def _takes_one_width(operation: Any) -> bool:
    """Whether all inputs of a layer must have the same number of channels."""
    return isinstance(operation, keras.layers.Layer) and (
        bool(operation.weights) or isinstance(operation, layers.Reshape)
    )


def _shared_weights(graph: SizedGraph) -> dict[int, str]:
    """Why variables stay that more than one layer uses, by their `id`."""
    reasons = {
        key: f"`{path}` uses its weights in a way that does not show"
        for key, path in graph.graph.unseen.items()
    }
    users: dict[int, Any] = {}
    for call in graph.graph.calls:
        operation = call.operation
        if isinstance(operation, Weight):
            used = [operation.variable]
            operation = None  # stands for all custom layers
        else:
            used = getattr(operation, "variables", [])
        for variable in used:
            if users.setdefault(id(variable), operation) is not operation:
                reasons.setdefault(
                    id(variable), "another layer uses its weights too"
                )
    return reasons


def _is_inside(node: TracedCall) -> bool:
    """Whether the code of a custom layer or model makes a call."""
    return any(graph_of(owner) is None for owner in node.owners)


def _lacks_bias(layer: keras.layers.Layer) -> bool:
    """Whether a layer, or one inside it, has no bias but could have one."""
    return any(
        getattr(part, "use_bias", getattr(part, "_use_bias", None)) is False
        or (isinstance(part, layers.EinsumDense) and part.bias is None)
        for part in flatten_layers(layer)
    )


def _only_zeros(operand: Operand) -> Operand:
    """The same channels, constant only where they are 0."""
    if isinstance(operand, Parameter):
        return operand
    zero = operand.constants == 0
    return operand.with_constants(np.where(zero, 0.0, np.nan))


def _zeros(operand: Operand) -> Operand:
    """The same channels, as if all of them were 0."""
    if isinstance(operand, Parameter):
        return replace(operand, values=np.zeros_like(operand.values))
    return replace(operand, constants=np.zeros_like(operand.constants))
