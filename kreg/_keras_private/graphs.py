"""Graphs of functional models: their calls, and runs with other operations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.backend import get_keras_mask


@dataclass(frozen=True)
class Graph:
    """The calls of layers and operations inside a model.

    Args:
        nodes: the calls in the order of execution. Each has `operation`,
            `input_tensors`, `output_tensors`, `arguments.args` and
            `arguments.kwargs`.
        inputs: the symbolic tensors that enter the model.
        outputs: the symbolic tensors that leave it.
    """

    nodes: tuple[Any, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def graph_of(layer: keras.layers.Layer) -> Graph | None:
    """The graph of a `Sequential` or functional model.

    None for a layer, and for a subclass that defines its own `call`.
    """
    module = getattr(type(layer).call, "__module__", None) or ""
    if module.split(".")[0] != "keras":
        return None
    function = getattr(layer, "_functional", layer)
    by_depth = getattr(function, "_nodes_by_depth", None)
    if not isinstance(layer, keras.Model) or by_depth is None:
        return None
    return Graph(
        tuple(
            node
            for depth in sorted(by_depth, reverse=True)
            for node in by_depth[depth]
        ),
        tuple(function.inputs),
        tuple(function.outputs),
    )


def carries_mask(tensor: Any) -> bool:
    """Whether a symbolic tensor carries a mask from the layers before it.

    Layers use such a mask although no argument of their call shows it.
    """
    return get_keras_mask(tensor) is not None


def is_plain_model(layer: Any) -> bool:
    """Whether a layer is a functional or sequential model of Keras's class."""
    return graph_of(layer) is not None and type(layer).__module__.startswith(
        "keras."
    )


def declared_inputs(model: keras.Model) -> Any | None:
    """The symbolic inputs of a functional or sequential model, structured.

    None for a subclass with its own `call`, which declares no inputs.
    """
    function = getattr(model, "_functional", None) or model
    return getattr(function, "_inputs_struct", None)


def run_graph(
    model: keras.Model, inputs: Any, operation: Callable[[Any], Any]
) -> Any:
    """The outputs of a functional model in which operations are replaced.

    Args:
        model: a functional model.
        inputs: its new inputs, in the structure of `model.input`.
        operation: function of an operation that returns what to call instead.
    """
    return model._run_through_graph(inputs, operation_fn=operation)


def operation_kind(operation: Any) -> str | None:
    """The class name of an operation of `keras.ops`; None for a layer."""
    cls = type(operation)
    if isinstance(operation, keras.layers.Layer):
        return None
    known = cls.__module__.startswith(
        ("keras.src.ops.", "keras.src.activations")
    )
    return cls.__name__ if known else None
