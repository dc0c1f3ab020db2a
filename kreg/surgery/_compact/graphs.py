"""Tracing the graph of a model, and comparing it for inputs of two sizes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile, zip_longest
from typing import Any

import keras
from keras import tree

from kreg._keras_private import (
    TracedCall,
    TracedGraph,
    Weight,
    declared_inputs,
    traced_graph,
    unseen_graph,
)
from kreg.error_messages import one_line

_BATCHES = (2, 3)
# Pairs of lengths for all axes whose size is not fixed. They are tried in turn:
# some models take no long sequences, others no small images.
_LENGTHS = ((7, 5), (4, 3), (17, 13), (64, 32), (256, 224))
# Code may treat long sequences otherwise. So axes of this many times the length
# are tried, too, if the model takes them.
_LONGER = 16


@dataclass(frozen=True, eq=False)
class SizedGraph:
    """The graph of a model for inputs of one size, and its calls for another.

    Args:
        graph: the graph for inputs of one size.
        twins: for each call the same call on inputs of another size, by the
            `id` of the call. Empty if the model was not looked into.
        declared: the inputs that the model declares, in the structure that it
            is called on. Sizes that are not fixed are None.
    """

    graph: TracedGraph
    twins: Mapping[int, TracedCall]
    declared: Any

    @property
    def inputs(self) -> list[Any]:
        """The declared inputs, flat."""
        return list(tree.flatten(self.declared))


def sized_graph(
    model: keras.Model,
    sample: Any = None,
    opaque: Mapping[int, str] | None = None,
) -> SizedGraph:
    """Trace a model on inputs of two sizes, and on long ones if it takes them.

    Layers that make other calls for inputs of another size are not looked
    into. Neither are layers whose code cannot run on symbolic tensors.

    Args:
        model: a built model.
        sample: its inputs, as arrays, `keras.InputSpec`s or
            `keras.KerasTensor`s in the structure that it is called on.
            Defaults to `None`: the inputs that a functional model declares.
        opaque: why layers are not to be looked into, by their `id`. Defaults
            to `None`: none.

    Raises:
        ValueError: if the inputs of the model are not known.
    """
    declared = _declared(model, sample)
    best: SizedGraph | None = None
    failure: Exception | None = None
    for sizes in _sizes(declared, sample):
        try:
            graph, twins = _at_sizes(model, sizes, opaque or {})
        except _DependsOnSizeError:
            best = failure = None
            break
        except Exception as error:  # whatever the model raises
            failure = failure or error
            continue
        sized = SizedGraph(graph, twins, _open(declared, *sizes[:2]))
        if best is None or _failures(sized) < _failures(best):
            best = sized
        if not _failures(best):
            break
    if best is not None:
        return best
    reason = _DEPENDS if failure is None else one_line(failure)
    return SizedGraph(unseen_graph(model, declared, reason), {}, declared)


def path_of_call(call: TracedCall) -> str:
    """The name of an operation after the names of the layers that call it."""
    around = [owner.name for owner in call.owners[1:]]
    return "/".join([*around, call.operation.name])


def _declared(model: keras.Model, sample: Any) -> Any:
    """Symbolic tensors in the structure of the model's inputs."""
    if sample is None:
        sample = declared_inputs(model)
    if sample is None:
        raise ValueError(
            "`sample` is needed: the model is a subclass, whose inputs are not "
            "known from its layers, so pass a few examples, as you would call "
            "the model on. "
            f"Received: sample=None, model={model!r} (of type "
            f"{type(model).__name__})"
        )
    return tree.map_structure(_symbolic, sample)


def _symbolic(value: Any) -> Any:
    """A symbolic tensor like an array or another one; the batch is open."""
    shape = value.shape
    if not isinstance(value, keras.KerasTensor | keras.InputSpec):
        shape = (None, *shape[1:])
    return keras.KerasTensor(
        tuple(shape),
        dtype=keras.backend.standardize_dtype(value.dtype),
        sparse=getattr(value, "sparse", False),
        name=getattr(value, "name", None),
    )


def _sizes(declared: Any, sample: Any) -> Iterator[tuple[Any, ...]]:
    """Inputs of one size, of another size, and perhaps of a long one."""
    flat = tree.flatten(declared)
    if any(None in tensor.shape[1:] for tensor in flat):
        for lengths in _LENGTHS:
            yield (
                _of_size(declared, _BATCHES[0], lengths[0]),
                _of_size(declared, _BATCHES[1], lengths[1]),
                _of_size(declared, _BATCHES[1], _LONGER * lengths[0]),
            )
        return
    one, other = (_of_size(declared, batch, 1) for batch in _BATCHES)
    # The model may take other sizes than those of the arrays.
    for axes in (_inner_axes, _first_axis) if sample is not None else ():
        yield (
            one,
            tree.map_structure(partial(_of_length, _shorter, axes), other),
            tree.map_structure(partial(_of_length, _longer, axes), other),
        )
    yield one, other


def _of_size(declared: Any, batch: int, length: int) -> Any:
    """Symbolic tensors in which all open sizes have got a value."""

    def sized(tensor: Any) -> Any:
        sizes = (batch, *(length for _ in tensor.shape[1:]))
        return _like(
            tensor,
            tuple(
                size if fixed is None else fixed
                for fixed, size in zip(tensor.shape, sizes, strict=False)
            ),
        )

    return tree.map_structure(sized, declared)


def _of_length(
    change: Callable[[int], int], axes: Callable[[Any], range], tensor: Any
) -> Any:
    """A symbolic tensor with other sizes along some axes."""
    shape = list(tensor.shape)
    for axis in axes(tensor):
        shape[axis] = change(shape[axis])
    return _like(tensor, tuple(shape))


def _inner_axes(tensor: Any) -> range:
    """The axes after the batch, without the channels of a float tensor."""
    return range(1, len(tensor.shape) - ("float" in tensor.dtype))


def _first_axis(tensor: Any) -> range:
    return _inner_axes(tensor)[:1]


def _open(declared: Any, one: Any, other: Any) -> Any:
    """The inputs, with None for each size that differs in the two runs."""

    def opened(tensor: Any, *sized: Any) -> Any:
        sizes = zip(tensor.shape, *(t.shape for t in sized), strict=True)
        return _like(
            tensor, tuple(size if a == b else None for size, a, b in sizes)
        )

    return tree.map_structure(opened, declared, one, other)


def _shorter(length: int) -> int:
    return length - 1 if length > 1 else 2


def _longer(length: int) -> int:
    return _LONGER * length


def _like(tensor: Any, shape: tuple[int | None, ...]) -> Any:
    return keras.KerasTensor(
        shape, dtype=tensor.dtype, sparse=tensor.sparse, name=tensor.name
    )


def _at_sizes(
    model: keras.Model, sizes: Sequence[Any], opaque: Mapping[int, str]
) -> tuple[TracedGraph, Mapping[int, TracedCall]]:
    """A graph for the first inputs, and the same calls for the second ones.

    Raises:
        _DependsOnSizeError: if the code of the model itself makes other calls.
    """
    opaque = dict(opaque)
    one, other, *longer = sizes
    while True:
        graph = traced_graph(model, one, opaque)
        twin = traced_graph(model, other, opaque)
        different = _difference(graph, twin)
        for inputs in longer:
            try:
                long = traced_graph(model, inputs, opaque)
            except Exception:  # the model takes no inputs of this size
                continue
            different = different or _difference(graph, long)
        if different is None:
            pairs = zip(graph.calls, twin.calls, strict=True)
            return graph, {id(call): same for call, same in pairs}
        layer, reason = different
        opaque[id(layer)] = reason


def _difference(
    graph: TracedGraph, twin: TracedGraph
) -> tuple[keras.layers.Layer, str] | None:
    """The first layer whose calls depend on the size of inputs, and why."""
    for one, other in zip_longest(graph.calls, twin.calls):
        if one and other and _key(one) == _key(other):
            continue
        for call in (one, other):
            if call and call.reason:
                return call.operation, call.reason
        pairs = zip(
            one.owners if one else (),
            other.owners if other else (),
            strict=False,
        )
        same = takewhile(lambda pair: pair[0] is pair[1], pairs)
        _, *common_owners = [layer for layer, _ in same] or [None]
        if not common_owners:
            raise _DependsOnSizeError
        return common_owners[-1], _DEPENDS
    return None


_DEPENDS = "what it computes depends on the size of its inputs"


class _DependsOnSizeError(Exception):
    """The code of the model itself makes other calls for other sizes."""


def _key(call: TracedCall) -> tuple[Any, ...]:
    """What is equal for the same call on inputs of other sizes."""
    operation = call.operation
    owners = tuple(map(id, call.owners))
    if isinstance(operation, Weight):
        return id(operation.variable), owners
    if isinstance(operation, keras.layers.Layer):
        return id(operation), call.reason is None, owners
    return type(operation), owners


def _failures(sized: SizedGraph) -> int:
    """How many layers could not run, perhaps because of the sizes tried."""
    reasons = [call.reason for call in sized.graph.calls]
    return sum(reason not in (None, _DEPENDS) for reason in reasons)
