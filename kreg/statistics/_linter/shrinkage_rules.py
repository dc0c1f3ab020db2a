"""L2 penalties that something else undoes or doubles."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras

from kreg._keras_private import Graph, flatten_layers, graph_of, weight_decay_of
from kreg.foreign_objects import answer, attribute, number
from kreg.layers.table import is_linear, undoes_scale
from kreg.statistics._linter.facts import Fault, ModelFacts


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


def l2_before_batch_norm(model: ModelFacts) -> Iterator[Fault]:
    """L2 on a kernel whose scale a BatchNormalization takes out again.

    Not L2 beside L1, whose zeros depend on the scale.
    """
    consumers: Consumers | None = None
    for weight in model.weights:
        if (
            not weight.is_penalized
            or not weight.variable.name.endswith("kernel")
            or not _is_linear(weight.layer)
            or not model.shrinks_in_proportion(weight)
            or model.makes_zeros(weight)
        ):
            continue
        consumers = consumers or Consumers(model.model)
        norms = consumers.of(weight.layer)
        if not norms or not all(map(undoes_scale, norms)):
            continue
        norm = model.layer_code(norms[0])
        instead = "" if norm is None else f", and regularize `{norm}.gamma`"
        yield Fault(
            weight.path,
            "its L2 penalty changes only the effective step, not what the "
            "layer can compute, because the BatchNormalization that it feeds "
            "takes out its scale",
            f"take it off with `{model.setting(weight, 'None')}`"
            f"{instead} if the outputs are to be small",
        )


def _is_linear(layer: keras.layers.Layer) -> bool:
    """Whether scaling the kernels of a layer only scales what it computes."""
    module = attribute(type(layer).call, "__module__") or ""
    return (
        is_linear(layer)
        and module.split(".")[0] == "keras"
        and attribute(layer, "activation") is keras.activations.linear
        and attribute(layer, "activity_regularizer") is None
        and not attribute(layer, "lora_enabled")
    )


def l2_and_weight_decay(model: ModelFacts) -> Iterator[Fault]:
    """An L2 penalty and the optimizer's weight decay on the same weight."""
    for weight in model.weights:
        optimizer = weight.optimizer
        if optimizer is None or not weight.is_penalized:
            continue
        name, decay = answer(
            partial(weight_decay_of, optimizer.optimizer, weight.variable)
        ) or ("", 0.0)
        if not number(decay) > 0.0 or not model.shrinks_in_proportion(weight):
            continue
        off = f"set `{optimizer.code or 'optimizer'}.{name} = 0.0`"
        less = (
            "leave the L2 part out"
            if model.makes_zeros(weight)
            else f"take the penalty off with `{model.setting(weight, 'None')}`"
        )
        yield Fault(
            weight.path,
            f"both its L2 penalty and {name}={number(decay):.6g} of "
            f"{optimizer.name} shrink it",
            f"keep one: {off} before training, or {less}",
        )
