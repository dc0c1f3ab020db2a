"""The heads of an attention layer: which weights belong to each."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers

from kreg._keras_private import own_layers, own_trainable_variables
from kreg.foreign_objects import attribute_or_none
from kreg.layers.channels.weighted_sum import is_altered
from kreg.regularizers.tied_groups import Slices

Heads: TypeAlias = Sequence[tuple[keras.Variable, Slices]]
"""The weights of an attention layer, each with one group for every head."""

_PROJECTION = (layers.Dense, layers.EinsumDense)
_ROLES = re.compile(
    r"_*((?P<packed>qkv|query_key_value)|(?P<query>query|q)|(?P<key>key|k)"
    r"|(?P<value>value|v)|(?P<gate>gate)|(?P<output>(attention_)?output|out|o))"
    r"(_(dense|layer|proj|projection|projector))?"
)
_COUNT = re.compile(r"_*(num|n)_(attention_|query_)?heads")
_MAKERS = ("keras", "keras_hub")


@dataclass(frozen=True)
class _Projection:
    """A projection to heads, or from heads to the output of the layer.

    Args:
        layer: a `Dense` or `EinsumDense` layer.
        heads: the axis of its kernel along which its heads lie.
        number: the number of its heads; None if the axis also holds their
            widths, as in a `Dense` layer.
        size: the number of its heads times their width.
        bias: the axis of the heads in its bias, or None.
    """

    layer: Any
    heads: int
    number: int | None
    size: int
    bias: int | None

    def weights(self, count: int) -> Iterator[tuple[keras.Variable, Slices]]:
        """Its weights in `count` groups of neighbouring heads."""
        yield _grouped(self.layer.kernel, self.heads, count)
        if self.bias is not None:
            yield _grouped(self.layer.bias, self.bias, count)


def heads_of(layer: keras.layers.Layer) -> Heads | str | None:
    """The weights of each head of an attention layer.

    An attention layer holds projections to queries, keys and values, which are
    found by the names of its attributes. The equation of an `EinsumDense` shows
    the order of the heads. For `Dense` projections, and where several query
    heads share a key head, the order is known only for the layers of Keras and
    KerasHub. A key head belongs together with all query heads that use it.

    Args:
        layer: any layer.

    Returns:
        The weights with their groups; the reason why they are not known; or
        None if it is not an attention layer.
    """
    by_role = _projections(layer)
    if not _is_attention(layer, by_role):
        return None
    needed = ("packed",) if "packed" in by_role else ("query", "key", "value")
    for role in (*needed, "output"):
        if len(by_role.get(role, ())) != 1:
            return f"it has no single layer whose name says `{role}`"
    parts = {role: parts[0] for role, parts in by_role.items()}
    if not all(part.built for part in parts.values()):
        return "it is not built"
    if any(map(is_altered, parts.values())):
        return "its projections are changed by LoRA or quantization"
    if len(by_role.get("gate", ())) > 1:
        return "it has several layers whose names say `gate`"
    return _resolved(layer, parts)


def _resolved(
    layer: keras.layers.Layer, parts: dict[str, keras.layers.Layer]
) -> Heads | str:
    """The heads of an attention layer with a projection for each role."""
    numbers = {
        value
        for name, value in vars(layer).items()
        if _COUNT.fullmatch(name) and isinstance(value, int)
    }
    if len(numbers) != 1:
        return "it has no attribute for the number of its heads"
    number = numbers.pop()
    projected = {}
    for role, part in parts.items():
        projection = _projection(part, inward=role == "output")
        if projection is None:
            return f"the equation of its `{role}` layer has no axis of heads"
        projected[role] = projection
    is_known_make = _is_of_known_make(layer)
    if any(
        p.number is None and (role == "packed" or not is_known_make)
        for role, p in projected.items()
    ):
        return "the order of its heads in the units of a layer is not known"
    shared = number
    if "key" in projected:
        shared = projected["key"].number or number
    if shared != number and not is_known_make:
        return "which query heads share a key head is not known"
    if not _fit(projected, number, shared):
        return f"its projections do not fit {number} heads of equal widths"
    return [
        weight
        for projection in projected.values()
        for weight in projection.weights(shared)
    ]


def _fit(projected: dict[str, _Projection], number: int, shared: int) -> bool:
    """Whether the numbers and the widths of heads fit each other.

    Args:
        projected: the projection of each role.
        number: the number of query heads.
        shared: the number of key heads.
    """
    widths = {}
    for role, projection in projected.items():
        count = shared if role in ("key", "value") else number
        if projection.number not in (None, count) or projection.size % count:
            return False
        widths[role] = projection.size // count
    if "packed" in widths:
        return widths["packed"] == 3 * widths["output"] and shared == number
    return (
        number % shared == 0
        and widths["query"] == widths["key"]
        and widths["value"] == widths["output"]
        and widths.get("gate", widths["value"]) == widths["value"]
    )


def _projections(
    layer: keras.layers.Layer,
) -> dict[str, list[keras.layers.Layer]]:
    """The projections that a layer holds as attributes, by their roles."""
    by_role: dict[str, list[keras.layers.Layer]] = {}
    for name, value in _attributes(layer):
        match = _ROLES.fullmatch(name)
        if match and isinstance(value, _PROJECTION):
            role = next(r for r, text in match.groupdict().items() if text)
            of_role = by_role.setdefault(role, [])
            if all(value is not other for other in of_role):
                of_role.append(value)
    return by_role


def _attributes(layer: Any) -> list[tuple[str, Any]]:
    """The attributes of a layer.

    On torch, those that are layers are not in `vars`.
    """
    inside = getattr(layer, "named_children", tuple)
    return [*vars(layer).items(), *inside()]


def _is_attention(
    layer: keras.layers.Layer, found: dict[str, list[keras.layers.Layer]]
) -> bool:
    if "packed" in found or {"query", "key", "value"} <= found.keys():
        return True
    # A layer that holds its weights in another way counts, so that a warning
    # can say that it is left out.
    return "attention" in type(layer).__name__.lower() and (
        any(isinstance(inner, _PROJECTION) for inner in own_layers(layer))
        or any(len(v.shape) > 1 for v in own_trainable_variables(layer))
    )


def _is_of_known_make(layer: keras.layers.Layer) -> bool:
    module = attribute_or_none(type(layer).call, "__module__") or ""
    return module.split(".")[0] in _MAKERS


def _projection(part: Any, *, inward: bool) -> _Projection | None:
    """The axes of the heads in a projection; None if they are not known.

    Args:
        part: a `Dense` or `EinsumDense` layer.
        inward: whether it reads heads; if not, it makes them.
    """
    shape = [int(size) for size in part.kernel.shape]
    bias = None if inward else part.bias
    if isinstance(part, layers.Dense):
        axis = 0 if inward else 1
        of_bias = None if bias is None else 0
        return _Projection(part, axis, None, shape[axis], of_bias)
    operands, made = part.equation.replace(" ", "").split("->")
    read, kernel = operands.split(",")
    own, other = (read, made) if inward else (made, read)
    axes = [axis for axis in own if axis in kernel and axis not in other]
    if not 1 <= len(axes) <= 2:
        return None
    head, *_ = positions = [kernel.index(axis) for axis in axes]
    of_bias = None
    if bias is not None and axes[0] in part.bias_axes:
        of_bias = made.index(axes[0]) - len(made) + len(bias.shape)
    return _Projection(
        part,
        head,
        shape[head] if len(axes) == 2 else None,
        math.prod(shape[position] for position in positions),
        of_bias,
    )


def _grouped(
    variable: keras.Variable, axis: int, count: int
) -> tuple[keras.Variable, Slices]:
    """A weight whose groups are `count` equal pieces of one axis."""
    shape = [int(size) for size in variable.shape]
    shape[axis : axis + 1] = [count, shape[axis] // count]
    return variable, Slices(tuple(shape), axis, np.arange(count))
