"""The graph of a model, as it is for inputs of two sizes."""

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
# Two lengths for all axes whose size is not fixed: some models take no long
# sequences, others no small images.
_LENGTHS = ((7, 5), (4, 3), (17, 13), (64, 32), (256, 224))
# Code may treat long sequences otherwise: also tried are sizes of this many
# times the length, where the model takes them.
_LONGER = 16


@dataclass(frozen=True, eq=False)
class SizedGraph:
    """A graph of a model for inputs of one size, compared with another size.

    Args:
        graph: the graph for inputs of one size.
        twins: the same call for inputs of another size, by the `id` of each
            call; none if the model cannot run on another size.
        declared: the inputs in the structure that the model is called on, as
            it declares them. Sizes are None where they are not fixed.
    """

    graph: TracedGraph
    twins: Mapping[int, TracedCall]
    declared: Any

    @property
    def inputs(self) -> list[Any]:
        """The same inputs, flat."""
        return list(tree.flatten(self.declared))


def sized_graph(
    model: keras.Model,
    sample: Any = None,
    opaque: Mapping[int, str] | None = None,
) -> SizedGraph:
    """Trace a model on inputs of two sizes, and on long ones if it takes them.

    A layer that makes other calls for inputs of another size is not looked
    into. Neither is one whose code cannot run on symbolic tensors.

    Args:
        model: a built model.
        sample: its inputs, as arrays, `keras.InputSpec`s or
            `keras.KerasTensor`s in the structure that it is called on.
            Defaults to `None`: the inputs of a model of layers are known.
        opaque: the layers not to look into, and why, by their `id`. Defaults
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
        found = SizedGraph(graph, twins, _open(declared, *sizes[:2]))
        if best is None or _reasons(found) < _reasons(best):
            best = found
        if not _reasons(best):
            break
    if best is not None:
        return best
    reason = _DEPENDS if failure is None else one_line(failure)
    return SizedGraph(unseen_graph(model, declared, reason), {}, declared)


def path_of(call: TracedCall) -> str:
    """The name of a call's operation after those of the layers around it."""
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
    """Inputs of one size, of another one, and perhaps of a long one."""
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
    # The sizes of arrays may be some of many that the model takes.
    for axes in (_inner_axes, _first_axis) if sample is not None else ():
        yield (
            one,
            tree.map_structure(partial(_of_length, _shorter, axes), other),
            tree.map_structure(partial(_of_length, _longer, axes), other),
        )
    yield one, other


def _of_size(declared: Any, batch: int, length: int) -> Any:
    """Symbolic tensors, with sizes where they have none."""

    def sized(tensor: Any) -> Any:
        sizes = (batch, *(length for _ in tensor.shape[1:]))
        return _like(
            tensor,
            tuple(
                size if known is None else known
                for known, size in zip(tensor.shape, sizes, strict=False)
            ),
        )

    return tree.map_structure(sized, declared)


def _of_length(
    change: Callable[[int], int], axes: Callable[[Any], range], tensor: Any
) -> Any:
    """The same with other sizes of some axes after the batch."""
    shape = list(tensor.shape)
    for axis in axes(tensor):
        shape[axis] = change(shape[axis])
    return _like(tensor, tuple(shape))


def _inner_axes(tensor: Any) -> range:
    """Those after the batch, without that of the channels of floats."""
    return range(1, len(tensor.shape) - ("float" in tensor.dtype))


def _first_axis(tensor: Any) -> range:
    return _inner_axes(tensor)[:1]


def _open(declared: Any, one: Any, other: Any) -> Any:
    """The inputs, with sizes that are None where two sizes were taken."""

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
    """A graph, and the same calls for inputs of the second of the sizes.

    Raises:
        _DependsOnSizeError: if the model itself makes other calls.
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
            except Exception:  # whatever the model raises: it takes none
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
    """The layer that calls otherwise for inputs of another size, and why."""
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
        common = takewhile(lambda pair: pair[0] is pair[1], pairs)
        _, *shared = [layer for layer, _ in common] or [None]
        if not shared:
            raise _DependsOnSizeError
        return shared[-1], _DEPENDS
    return None


_DEPENDS = "what it computes depends on the size of its inputs"


class _DependsOnSizeError(Exception):
    """Code of the model itself makes other calls for other sizes."""


def _key(call: TracedCall) -> tuple[Any, ...]:
    operation = call.operation
    owners = tuple(map(id, call.owners))
    if isinstance(operation, Weight):
        return id(operation.variable), owners
    if isinstance(operation, keras.layers.Layer):
        return id(operation), call.reason is None, owners
    return type(operation), owners


def _reasons(found: SizedGraph) -> int:
    """How many layers could not run, maybe only because of the sizes tried."""
    reasons = [call.reason for call in found.graph.calls]
    return sum(reason not in (None, _DEPENDS) for reason in reasons)
