"""Following the channels through a model and the models nested in it."""

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
    is_plain,
    one_line,
)
from kreg.layers.channels.call import (
    Call,
    Traced,
    every_number,
    fresh_signal,
    kept_whole,
    matrix,
    signal_without_channels,
)
from kreg.layers.channels.network import (
    Kept,
    Network,
    Operand,
    Parameter,
    Values,
)
from kreg.layers.channels.rearranging import of_parts
from kreg.layers.table import traced
from kreg.surgery._compact.graphs import SizedGraph, path_of, sized_graph
from kreg.surgery._compact.tokens import Tokens, dropped_tokens

SharedConstants = Mapping[int, Sequence[Values]]
"""The constants of the inputs of layers, by the `id` of the layer."""


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

    Where a layer is called more than once, its input is a constant only if all
    calls have the same value. A known constant may reveal others, so the walk
    is repeated until it finds no more.

    Args:
        model: a built model of any kind.
        drop_inputs: whether features of its inputs may be removed.
        sample: its inputs, for a model whose inputs are not known from its
            layers. Defaults to `None`.
        opaque: the layers and operations that stay as they are, and why, by
            their `id`. Defaults to `None`: none.
        norms_as_operations: whether normalizations may become operations that
            know the sums of constant channels. Defaults to `False`.
        drop_tokens: the ids that go with their rows of embeddings, as for
            `compact`. Defaults to `None`: none.
        as_zeros: whether all channels count as 0, as where all weights are. So
            a channel must stay only if it must whatever its weights are.
            Defaults to `False`.

    Raises:
        ValueError: if the inputs of the model are not known, or no ids of an
            input in `drop_tokens` can go.
    """
    graph = sized_graph(model, sample, opaque)
    tokens = dropped_tokens(graph, drop_tokens)
    settings = drop_inputs, opaque or {}, norms_as_operations, tokens, as_zeros
    walked = Walk(graph, {}, *settings)
    while walked.found_more:
        walked = Walk(graph, walked.shared_constants, *settings)
    return walked


class Walk:
    """The channels of a model, and what each layer does to them.

    Args:
        graph: the graph of the model.
        shared_constants: the input constants that an earlier walk found equal
            in all calls of a layer, for each layer with several calls.
        drop_inputs: whether features of its inputs may be removed.
        opaque: the layers and operations that stay as they are, and why, by
            their `id`.
        norms_as_operations: whether normalizations may become operations.
        tokens: the ids that go with their rows of embeddings.
        as_zeros: whether all channels count as 0.

    Attributes:
        graph: the same.
        tokens: the same.
        network: the channels of the model.
        inputs: the channels of each of its inputs.
        outputs: the channels of each of its outputs.
        layers: the effect of each layer and operation on channels, by its
            `id`. Layers and models that were looked into are not among them.
        inputs_of: the channels of the inputs of each of these, in its first
            call, by its `id`.
        composites: the channels of the inputs of each layer and model that was
            looked into, in its first call, by its `id` and by which of them
            are integers.
        paths: the layers by their paths in reports, in the order of execution,
            without those that were looked into.
        whole: why layers were not looked into, by their `id`.
        shared_constants: the same, as found by this walk.
        found_more: whether this walk found more of them than the earlier one.
    """

    def __init__(
        self,
        graph: SizedGraph,
        shared_constants: SharedConstants,
        drop_inputs: bool,
        opaque: Mapping[int, str],
        norms_as_operations: bool,
        tokens: Tokens,
        as_zeros: bool,
    ) -> None:
        self.graph, self.tokens = graph, tokens
        self.network = Network(tokens.unused_rows)
        self.layers: dict[int, Traced] = {}
        self.composites: dict[tuple[Any, ...], Sequence[Operand]] = {}
        self.paths: dict[str, keras.layers.Layer] = {}
        self.whole: dict[int, str] = {}
        self.shared_constants: dict[int, list[Values]] = {}
        self._earlier, self._opaque = shared_constants, opaque
        self._norms_as_operations = norms_as_operations
        self._as_zeros = as_zeros
        self._operations: dict[int, Any] = {}
        calls = graph.graph.calls
        self._calls = Counter(id(call.operation) for call in calls)
        self._shared_weights = _shared_weights(graph)
        self.inputs_of: dict[int, Sequence[Operand]] = {}
        self._operands: dict[int, Operand] = {}
        self.inputs = []
        for given, tensor in zip(graph.inputs, graph.graph.inputs, strict=True):
            signal = fresh_signal(given, self.network)
            self.inputs.append(signal)
            self._operands[id(tensor)] = signal
            if not drop_inputs:
                self.network.pin(
                    signal.channels, f"`{given.name}` is an input of the model"
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
            self._tie_to_first_call(call)
        self.found_more = _number_of_constants(
            self.shared_constants
        ) > _number_of_constants(shared_constants)

    def own_values(self, kept: Kept) -> dict[int, NDArray[Any]]:
        """The new values of variables that layers of one's own use themselves.

        Args:
            kept: the channels that stay.

        Returns:
            They are by the `id` of the variable.
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
        """Keep the channels that a layer makes for nothing.

        What it reads stays then, too: the layer is still called on that.
        """
        if not getattr(node.operation, "weights", ()):
            return
        for tensor in node.output_tensors:
            for channels in every_number(self._operands[id(tensor)]):
                self.network.pin(
                    channels,
                    f"the outputs of the model do not depend on "
                    f"`{path_of(node)}`",
                )

    def _call(self, node: TracedCall) -> Call:
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
            path_of(node),
            operands,
            [o for t, o in pairs if id(t) not in masks],
            [o for t, o in pairs if id(t) in masks],
            node,
            bool(training),
            self.graph.twins.get(id(node)),
            is_called_once and all(map(is_plain, node.owners)),
            self._norms_as_operations
            and (is_called_once or has_size(node.operation)),
        )

    def _operand(self, tensor: Any) -> Operand:
        known = self._operands.get(id(tensor))
        return (
            signal_without_channels(len(tensor.shape))
            if known is None
            else known
        )

    def _read(self, variable: keras.Variable) -> Operand:
        """The channels of a variable that a layer of one's own uses itself."""
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
        return of_parts(values, parts, self.network)

    def _called(self, call: Call) -> Sequence[Operand]:
        operation = call.operation
        self._operations[id(operation)] = operation
        if isinstance(operation, keras.layers.Layer):
            self.paths.setdefault(call.path, operation)
        if self._calls[id(operation)] > 1 and has_size(operation):
            self._note_shared_constants(call)
            if id(operation) in self.layers:
                return self._called_again(call)
            call = _on(call, self._with_shared_constants(call))
        first = self._first_call(call)
        self.layers[id(operation)] = first
        self.inputs_of[id(operation)] = call.operands
        return first.outputs

    def _first_call(self, call: Call) -> Traced:
        reason = self._opaque.get(id(call.operation), call.node.reason)
        if reason is not None:
            self.whole[id(call.operation)] = reason
            kind = type(call.operation).__name__
            why = f"({kind}) is kept whole: {reason}" if reason else None
            return kept_whole(call, self.network, why)
        if isinstance(call.operation, keras.layers.Layer):
            for variable in call.operation.variables:
                if id(variable) in self._shared_weights:
                    why = self._shared_weights[id(variable)]
                    self.whole[id(call.operation)] = why
                    return kept_whole(call, self.network, f"is kept: {why}")
            if _is_inside(call.node) and _lacks_bias(call.operation):
                # The code around it decides that there is no bias to which a
                # constant could be added.
                call = _on(call, [_only_zeros(o) for o in call.operands])
        try:
            return traced(call, self.network)
        except Exception as error:  # of code that no rule foresees
            why = f"cannot be followed ({one_line(error)})"
            self.whole[id(call.operation)] = why
            return kept_whole(call, self.network, why)

    def _note_shared_constants(self, call: Call) -> None:
        """Note the constants that this call shares with the earlier calls."""
        new = [_constants(operand) for operand in call.operands]
        before = self.shared_constants.setdefault(id(call.operation), new)
        if [a.shape for a in before] == [a.shape for a in new]:
            self.shared_constants[id(call.operation)] = [
                np.where(a == b, a, np.nan)
                for a, b in zip(before, new, strict=True)
            ]

    def _with_shared_constants(self, call: Call) -> list[Operand]:
        """The inputs of the first call, constant only where all calls agree."""
        shared = self._earlier.get(id(call.operation))
        known = shared is not None and [a.shape for a in shared] == [
            _constants(operand).shape for operand in call.operands
        ]
        return [
            operand
            if isinstance(operand, Parameter)
            else operand.with_constants(shared[i])
            if known and shared is not None
            else operand.varying()
            for i, operand in enumerate(call.operands)
        ]

    def _called_again(self, call: Call) -> Sequence[Operand]:
        """Tie the inputs of a shared layer to those of its first call.

        Where the calls differ in form, all their channels are kept.
        """
        before = self.inputs_of[id(call.operation)]
        first = self.layers[id(call.operation)]
        tensors = call.node.output_tensors
        if (
            _are_alike(before, call.operands)
            and len(first.outputs) == len(tensors)
            and all(
                len(signal.axes) == 0 or signal.axis < len(tensor.shape)
                for signal, tensor in zip(first.outputs, tensors, strict=True)
            )
        ):
            self._tie(before, call.operands)
            return first.outputs
        kept_whole(_on(call, [*before, *first.outputs]), self.network)
        return kept_whole(call, self.network).outputs

    def _tie_to_first_call(self, call: TracedCall) -> None:
        """Tie the inputs of a layer that was looked into to its first call.

        Its weights are the same in all calls. Calls on integers take another
        way through its code than calls on other numbers, as in an embedding
        that the outputs are multiplied with, too.
        """
        if not call.operation.weights:
            return
        operands = [self._operand(tensor) for tensor in call.input_tensors]
        takes_rows = tuple("int" in str(t.dtype) for t in call.input_tensors)
        key = id(call.operation), takes_rows
        before = self.composites.setdefault(key, operands)
        if _are_alike(before, operands):
            self._tie(before, operands)
            return
        reason = f"`{path_of(call)}` is called on tensors that differ"
        for operand in (*before, *operands):
            for channels in every_number(operand):
                self.network.pin(channels, reason)

    def _tie(self, one: Sequence[Operand], other: Sequence[Operand]) -> None:
        for a, b in zip(one, other, strict=True):
            pairs = zip(every_number(a), every_number(b), strict=True)
            for first, second in pairs:
                self.network.tie(first, second)


def has_size(operation: Any) -> bool:
    """Whether a layer takes only inputs with one number of channels."""
    return isinstance(operation, keras.layers.Layer) and (
        bool(operation.weights) or isinstance(operation, layers.Reshape)
    )


def _shared_weights(graph: SizedGraph) -> dict[int, str]:
    """Why variables must stay that more than one layer uses, by their `id`."""
    reasons = {
        key: f"`{path}` uses its weights in a way that does not show"
        for key, path in graph.graph.unseen.items()
    }
    users: dict[int, Any] = {}
    for call in graph.graph.calls:
        operation = call.operation
        if isinstance(operation, Weight):
            used = [operation.variable]
            operation = None  # the layers of one's own
        else:
            used = getattr(operation, "variables", [])
        for variable in used:
            if users.setdefault(id(variable), operation) is not operation:
                reasons.setdefault(
                    id(variable), "another layer uses its weights too"
                )
    return reasons


def _is_inside(node: TracedCall) -> bool:
    """Whether a layer or model of one's own makes a call."""
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


def _on(call: Call, operands: Sequence[Operand]) -> Call:
    """The call on other channels."""
    masks = list(map(id, call.masks))
    is_mask = [id(operand) in masks for operand in call.operands]
    if len(operands) != len(is_mask):
        return replace(call, operands=operands, signals=(), masks=())
    pairs = list(zip(operands, is_mask, strict=True))
    return replace(
        call,
        operands=operands,
        signals=[operand for operand, mask in pairs if not mask],
        masks=[operand for operand, mask in pairs if mask],
    )


def _are_alike(one: Sequence[Operand], other: Sequence[Operand]) -> bool:
    """Whether the channels of tensors have the same form."""
    return len(one) == len(other) and all(
        _form(a) == _form(b) for a, b in zip(one, other, strict=True)
    )


def _form(operand: Operand) -> list[Any]:
    if isinstance(operand, Parameter):
        return [(channels.shape, axes) for channels, axes in operand.parts]
    return [(operand.channels.shape, operand.axes)]


def _constants(operand: Operand) -> Values:
    return np.zeros(0) if isinstance(operand, Parameter) else operand.constants


def _number_of_constants(constants: SharedConstants) -> int:
    return sum(
        int((~np.isnan(values)).sum())
        for inputs in constants.values()
        for values in inputs
    )
