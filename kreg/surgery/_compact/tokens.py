"""Removing ids of tokens and their rows of embeddings, on request."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, tree
from numpy.typing import NDArray

from kreg._arguments import shown
from kreg._keras_private import TracedCall, Weight, operation_kind
from kreg.layers.channels.activations import is_plain_argument, plain_argument
from kreg.layers.channels.call import matrix
from kreg.layers.channels.weighted_sum import is_altered
from kreg.surgery._compact.graphs import SizedGraph, path_of_call

Request = Literal["zeros"] | Sequence[int]
"""Which ids of an input go: a list of ids, or those whose rows are zero."""


# Operations whose outputs are the ids of their inputs, perhaps elsewhere.
_SAME_IDS = frozenset(
    (
        *("ArraySplit", "BroadcastTo", "Cast", "Concatenate"),
        *("ConvertToTensor", "Copy", "ExpandDims", "Flip", "GetItem"),
        *("Identity", "Moveaxis", "Pad", "Ravel", "Repeat", "Reshape"),
        *("Roll", "Slice", "Split", "Squeeze", "Stack", "Swapaxes", "Tile"),
        *("Transpose", "Unstack"),
    )
)
# Those that hold the ids of any vocabulary.
_WIDE_DTYPES = ("int32", "int64", "uint32", "uint64", "float32", "float64")
_LAYERS_OF_SAME_IDS = (
    *(layers.Concatenate, layers.Flatten, layers.Identity, layers.Permute),
    *(layers.RepeatVector, layers.Reshape),
)


@dataclass(frozen=True)
class Tokens:
    """The ids of tokens that go, and the new ids of the others.

    Args:
        unused_rows: which rows of an embedding are not looked up anymore, by
            the `id` of the variable.
        new_ids: the new id for each old id, by the index of the input; -1 for
            an id that must not occur.
    """

    unused_rows: Mapping[int, NDArray[np.bool_]]
    new_ids: Mapping[int, NDArray[np.int64]]


NO_TOKENS = Tokens({}, {})


def input_names(graph: SizedGraph) -> list[str]:
    """The names of a model's inputs."""
    return [
        tensor.name or f"input_{i}"
        for i, tensor in enumerate(graph.graph.inputs)
    ]


def dropped_tokens(graph: SizedGraph, drop_tokens: Any) -> Tokens:
    """The rows that `drop_tokens` removes, and the new ids.

    Args:
        graph: the graph of a model.
        drop_tokens: as for `compact`; None for no ids.

    Raises:
        ValueError: if no ids of an input can go, or if an id has no row.
    """
    if drop_tokens is None:
        return NO_TOKENS
    tables = _Tables(graph)
    names = input_names(graph)
    if not isinstance(drop_tokens, Mapping):
        looked_up = [
            name
            for name, variables in zip(names, tables.of_inputs, strict=True)
            if variables
        ]
        if not looked_up:
            raise _refused(
                drop_tokens,
                "be None, because no ids are looked up in an Embedding: "
                + "; ".join(
                    f"for `{name}`, {tables.obstacle(place)}"
                    for place, name in enumerate(names)
                ),
            )
        if len(looked_up) > 1:
            raise _refused(
                drop_tokens,
                "be a dict by the names of inputs, because "
                f"{len(looked_up)} inputs are looked up in an Embedding, not "
                f"one: {looked_up}",
            )
        drop_tokens = {looked_up[0]: drop_tokens}
    unused: dict[int, NDArray[np.bool_]] = {}
    new_ids = {}
    for name, request in drop_tokens.items():
        if name not in names:
            raise _refused(drop_tokens, f"name inputs of the model: {names}")
        place = names.index(name)
        obstacle = tables.obstacle(place)
        if obstacle is not None:
            raise _refused(
                drop_tokens,
                "name inputs whose ids are only looked up; for "
                f"`{name}`, {obstacle}",
            )
        values = [matrix(v) for v in tables.of_inputs[place]]
        gone, new_ids[place] = _new_ids(name, request, values)
        for variable, table in zip(
            tables.of_inputs[place], values, strict=True
        ):
            rows = np.zeros(len(table), bool)
            rows[: len(gone)] = gone
            if not np.array_equal(unused.setdefault(id(variable), rows), rows):
                raise _refused(drop_tokens, _same_ids_for(variable))
    for place, variables in enumerate(tables.of_inputs):
        for variable in variables:
            if id(variable) in unused and place not in new_ids:
                raise _refused(drop_tokens, _same_ids_for(variable))
    return Tokens(unused, new_ids)


def _refused(drop_tokens: Any, expected: str) -> ValueError:
    return ValueError(
        f"`drop_tokens` must {expected}. "
        f"Received: drop_tokens={shown(drop_tokens)}"
    )


def _same_ids_for(variable: keras.Variable) -> str:
    return (
        "name the same ids for all inputs that are looked up in "
        f"`{variable.path}`"
    )


def _new_ids(
    name: str, request: Any, tables: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which ids of an input go, and the new ids of all.

    The id 0 always stays, because it stands for masks and padding.
    """
    count = min(map(len, tables))
    gone = np.zeros(count, bool)
    zeros = np.zeros(0, np.int64)
    if isinstance(request, str) and request == "zeros":
        is_zero = np.all([~t[:count].any(axis=1) for t in tables], axis=0)
        is_zero[0] = False
        zeros = np.flatnonzero(is_zero)
        gone[zeros[1:]] = True
    else:
        ids = np.asarray(request)
        if (
            ids.ndim != 1
            or (ids.size and ids.dtype.kind not in "iu")
            or np.any((ids < 0) | (ids >= count))
        ):
            raise ValueError(
                "`drop_tokens` must be 'zeros' or a sequence of ids from 0 to "
                f"{count - 1}, for the input `{name}`. "
                f"Received: drop_tokens={shown(request)}"
            )
        gone[ids.astype(np.int64)] = True
        gone[0] = False
    new_ids = np.where(gone, -1, np.cumsum(~gone) - 1)
    new_ids[zeros] = new_ids[zeros[:1]]
    return gone, new_ids


class _Tables:
    """The weights in which ids of a model's inputs look up rows.

    Args:
        graph: the graph of the model.

    Attributes:
        of_inputs: the weights in which each input looks up rows.
    """

    def __init__(self, graph: SizedGraph) -> None:
        self._graph = graph.graph
        self._weights = {
            id(call.output_tensors[0]): call.operation.variable
            for call in self._graph.calls
            if isinstance(call.operation, Weight)
        }
        self._obstacles: dict[int, str] = {}
        self._other_uses: dict[int, str] = {
            key: f"`{path}` uses its weights in a way that cannot be traced"
            for key, path in self._graph.unseen.items()
        }
        self.of_inputs = [
            list(self._weights_of(place).values())
            for place in range(len(self._graph.inputs))
        ]
        self._note_other_uses()

    def obstacle(self, place: int) -> str | None:
        """Why the ids of an input cannot change; None if they can."""
        if place in self._obstacles:
            return self._obstacles[place]
        if not self.of_inputs[place]:
            return "nothing is looked up"
        reasons = (self._other_uses.get(id(v)) for v in self.of_inputs[place])
        return next((reason for reason in reasons if reason), None)

    def _weights_of(self, place: int) -> dict[int, keras.Variable]:
        """The weights in which an input looks up rows, by their `id`.

        Other uses of its ids are noted as obstacles.
        """
        ids = {id(self._graph.inputs[place])}
        tables: dict[int, keras.Variable] = {}
        for call in self._graph.calls:
            if not any(id(tensor) in ids for tensor in call.input_tensors):
                continue
            table = self._looked_up(call, ids)
            if table is not None:
                tables[id(table)] = table
            elif _returns_ids(call, ids):
                ids.update(map(id, call.output_tensors))
            elif not _compares_with_zero(call):
                reason = f"`{path_of_call(call)}` reads the ids, too"
                if _is_altered_embedding(call.operation):
                    reason = f"`{path_of_call(call)}` is quantized or has LoRA"
                if call.reason:
                    reason = (
                        f"`{path_of_call(call)}` stays whole: {call.reason}"
                    )
                self._obstacles.setdefault(place, reason)
        if any(id(tensor) in ids for tensor in self._graph.outputs):
            self._obstacles.setdefault(place, "the ids are an output, too")
        return tables

    def _looked_up(self, call: TracedCall, ids: set[int]) -> Any:
        """The weight whose rows a call looks up by ids; None for others."""
        operation, tensors = call.operation, call.input_tensors
        if type(operation) is layers.Embedding and call.reason is None:
            return None if is_altered(operation) else operation.embeddings
        if (
            operation_kind(operation) == "Take"
            and operation.axis == 0
            and len(tensors) == 2
            and id(tensors[1]) in ids
        ):
            return self._weights.get(id(tensors[0]))
        return None

    def _note_other_uses(self) -> None:
        """Note what else uses the weights, besides lookups by ids."""
        ids = {id(tensor) for tensor in self._graph.inputs}
        users: dict[int, Any] = {}
        for call in self._graph.calls:
            if _returns_ids(call, ids):
                ids.update(map(id, call.output_tensors))
            looked_up = self._looked_up(call, ids)
            used = [
                self._weights[id(tensor)]
                for tensor in call.input_tensors
                if id(tensor) in self._weights
            ]
            if isinstance(call.operation, layers.Layer):
                used += call.operation.variables
            for variable in used:
                user = users.setdefault(id(variable), call.operation)
                is_shared = user is not call.operation and isinstance(
                    call.operation, layers.Layer
                )
                reads_ids = any(id(t) in ids for t in call.input_tensors)
                if is_shared or variable is not looked_up or not reads_ids:
                    self._other_uses.setdefault(
                        id(variable),
                        f"`{path_of_call(call)}` uses the rows, too",
                    )


def _is_altered_embedding(operation: Any) -> bool:
    return isinstance(operation, layers.Embedding) and is_altered(operation)


def _returns_ids(call: TracedCall, ids: Collection[int]) -> bool:
    """Whether a call only moves ids, or adds the id 0, which stays."""
    kind = operation_kind(call.operation)
    if kind not in _SAME_IDS and (
        type(call.operation) not in _LAYERS_OF_SAME_IDS
    ):
        return False
    if any(t.dtype not in _WIDE_DTYPES for t in call.output_tensors):
        return False
    others = _arguments_without_history(call)
    if kind == "Pad":
        others = [
            plain_argument(a) if is_plain_argument(a) else a for a in others
        ]
        return others in ([], [None], [0])
    return all(id(tensor) in ids for tensor in call.input_tensors) and not any(
        isinstance(a, np.ndarray) or keras.ops.is_tensor(a) for a in others
    )


def _arguments_without_history(call: TracedCall) -> list[Any]:
    """The arguments of a call that are no symbolic tensors."""
    return [
        a
        for a in tree.flatten((call.arguments.args, call.arguments.kwargs))
        if not isinstance(a, keras.KerasTensor)
    ]


def _compares_with_zero(call: TracedCall) -> bool:
    """Whether a call only compares ids with 0, an id that stays."""
    others = _arguments_without_history(call)
    return (
        operation_kind(call.operation) in ("Equal", "NotEqual")
        and len(call.input_tensors) == 1
        and len(others) == 1
        and is_plain_argument(others[0])
        and plain_argument(others[0]) == 0
    )
