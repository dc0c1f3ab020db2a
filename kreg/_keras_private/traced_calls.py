"""Traced calls of layers and operations, and the graphs of such calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree
from keras.src.ops.symbolic_arguments import SymbolicArguments


class Weight(keras.Operation):
    """The operation that reads a variable, without any inputs.

    Args:
        variable: the variable that it reads.
    """

    def __init__(self, variable: keras.Variable) -> None:
        super().__init__(name=variable.name)
        self.variable = variable

    def call(self) -> Any:
        """The value of the variable."""
        return self.variable.value


@dataclass(frozen=True, eq=False)
class TracedCall:
    """A call in a traced graph.

    Args:
        operation: a layer, an operation of `keras.ops` or a `Weight`.
        arguments: its arguments, as in a node of Keras: `args`, `kwargs` and
            `fill_in`. Variables among them are tensors of a `Weight`.
        output_tensors: its outputs, flat.
        owners: the model and the layers whose code makes the call, outermost
            first.
        training: the `training` argument of the call; None if it has none.
        reason: why the code of a custom layer could not be followed; None for
            all other calls.
        place: the place of an operation in the code of its last owner: how
            often this code has run before, and how many operations it has
            called before in this run. None inside a layer that this code calls
            on arrays alone.
    """

    operation: Any
    arguments: Any
    output_tensors: tuple[Any, ...]
    owners: tuple[Any, ...] = ()
    training: bool | None = None
    reason: str | None = None
    place: tuple[int, int] | None = (0, 0)

    @property
    def input_tensors(self) -> list[Any]:
        """The symbolic tensors among the arguments."""
        tensors: list[Any] = self.arguments.keras_tensors
        return tensors


@dataclass(frozen=True, eq=False)
class TracedGraph:
    """The calls of Keras's layers and operations in a model, however deep.

    Args:
        calls: the calls that lead to the outputs and the losses, and those in
            `aside`, in the order of execution.
        inputs: the symbolic tensors that enter the model, flat.
        outputs: the symbolic tensors that leave it, flat.
        structure: the outputs in the structure that the model returns.
        composites: the calls of the layers and models that were looked into.
            The model itself is the last.
        unseen: the variables that a layer uses in a way that no call shows:
            the path of the layer, by the `id` of the variable.
        aside: the calls of layers with weights that do not lead to the
            outputs, and the calls before and after them.
        losses: the symbolic tensors that code adds as losses.
    """

    calls: tuple[TracedCall, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    structure: Any
    composites: tuple[TracedCall, ...]
    unseen: Mapping[int, str]
    aside: tuple[TracedCall, ...] = ()
    losses: tuple[Any, ...] = ()


def unseen_graph(model: keras.Model, inputs: Any, reason: str) -> TracedGraph:
    """The graph of a model that is not looked into: one call of the model."""
    outputs = tuple(tree.flatten(getattr(model, "outputs", None) or ()))
    call = TracedCall(model, SymbolicArguments(inputs), outputs, reason=reason)
    return TracedGraph(
        (call,),
        tuple(tree.flatten(inputs)),
        outputs,
        outputs,
        (),
        {id(variable): model.name for variable in model.variables},
    )


def call_in_wrapper(
    layer: keras.layers.Layer, tensor: Any, output_tensors: Sequence[Any]
) -> TracedCall:
    """The call of a layer by a wrapper around it. No trace shows such calls."""
    return TracedCall(layer, SymbolicArguments(tensor), tuple(output_tensors))
