"""Sizes of symbolic tensors that are known only when a model runs."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops


class OpenSize:
    """A size of a symbolic tensor that is known only when the model runs.

    It is opaque: code that computes with it other than by products, or that
    asks whether it is larger than another size, raises a `TypeError`.

    Args:
        tensor: the symbolic tensor. Defaults to `None`: the size is a product.
        axis: the axis of the tensor. Defaults to `None`.
    """

    def __init__(self, tensor: Any = None, axis: int | None = None) -> None:
        self._tensor, self.axis = tensor, axis

    def __mul__(self, other: Any) -> "OpenSize":
        return OpenSize()

    __rmul__ = __floordiv__ = __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpenSize):
            return False  # as for None, which Keras has in its place
        if self.axis is None or other.axis is None:
            raise TypeError("a product of open sizes is compared")
        if self._tensor is other._tensor:
            return self.axis == other.axis
        raise TypeError("open sizes of two tensors are compared")

    __hash__ = object.__hash__

    def zeros(self) -> Any:
        """A symbolic vector of integer zeros that has this size."""
        if self.axis is None:
            raise ValueError("a size is a product of sizes that are open")
        index = tuple(
            slice(None) if axis == self.axis else 0
            for axis in range(len(self._tensor.shape))
        )
        return ops.zeros_like(self._tensor[index], dtype="int32")

    def range(self) -> Any:
        """A symbolic vector of the integers from 0 up to this size."""
        return ops.cumsum(ops.ones_like(self.zeros())) - 1


def are_open(sizes: Any) -> bool:
    """Whether a size is open, or any in a sequence of sizes or slices."""
    if isinstance(sizes, OpenSize):
        return True
    return isinstance(sizes, Sequence) and any(
        isinstance(size, OpenSize)
        or (isinstance(size, slice) and isinstance(size.stop, OpenSize))
        for size in sizes
    )


def open_shape(tensor: Any, shape: Sequence[int | None]) -> tuple[Any, ...]:
    """The shape of a symbolic tensor; `OpenSize` where Keras has None."""
    return tuple(
        OpenSize(tensor, axis) if size is None else size
        for axis, size in enumerate(shape)
    )


def reshape(x: Any, sizes: Sequence[Any]) -> Any:
    """A `reshape` to sizes that may be open.

    Raises:
        ValueError: if Keras has no operation that does it.
    """
    first, *rest = sizes
    is_batch = first == -1 or getattr(first, "axis", None) == 0
    if is_batch and x.shape[0] is None:
        numbers = _with_one_unknown(rest)
        if numbers is not None and -1 in numbers:
            return layers.Reshape(numbers)(x)
    numbers = _with_one_unknown(sizes)
    if numbers is None:
        raise ValueError("a `reshape` makes several axes of open sizes")
    return ops.reshape(x, numbers)


def _with_one_unknown(sizes: Sequence[Any]) -> list[int] | None:
    """The sizes, with -1 for the open one; None if there are several."""
    numbers = [-1 if isinstance(s, OpenSize) else s for s in sizes]
    return None if numbers.count(-1) > 1 else numbers


def broadcast_to(x: Any, sizes: Sequence[Any]) -> Any:
    """A `broadcast_to` sizes that may be open."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    rank = len(sizes)
    for axis, size in enumerate(sizes):
        if size is None:
            continue
        if isinstance(size, OpenSize):
            zeros = size.zeros()
        elif x.shape[axis - rank :][:1] != (size,):
            zeros = ops.zeros((size,), "int32")
        else:
            continue
        others = [a for a in range(rank) if a != axis]
        zeros = ops.cast(ops.expand_dims(zeros, others), dtype)
        x = ops.logical_or(x, zeros) if dtype == "bool" else ops.add(x, zeros)
    return x


def tile(x: Any, repeats: Sequence[Any]) -> Any:
    """A `tile` whose numbers of repeats may be open.

    Raises:
        ValueError: if an axis with more than one entry is repeated so.
    """
    closed_repeats = [1 if isinstance(n, OpenSize) else n for n in repeats]
    x = ops.tile(x, closed_repeats)
    sizes = list(x.shape)
    for axis, number in enumerate(repeats, len(sizes) - len(closed_repeats)):
        if isinstance(number, OpenSize):
            if sizes[axis] != 1:
                raise ValueError("entries are repeated an open number of times")
            sizes[axis] = number
    return broadcast_to(x, sizes)


def get_item(x: Any, key: Sequence[Any]) -> Any:
    """A slice up to open sizes along some axes.

    Raises:
        ValueError: if such a slice does not start at 0, or comes after `...`.
    """
    closed_key, open_stops, axis = [], [], 0
    for part in key:
        if isinstance(part, slice) and isinstance(part.stop, OpenSize):
            if part.start not in (None, 0) or part.step not in (None, 1):
                raise ValueError(
                    "a slice up to an open size does not start at 0"
                )
            if Ellipsis in closed_key:
                raise ValueError("a slice of an open size is after `...`")
            open_stops.append((axis, part.stop))
            part = slice(None)
        closed_key.append(part)
        axis += not isinstance(part, int)
    x = x[tuple(closed_key)]
    for axis, size in open_stops:
        x = ops.take(x, size.range(), axis=axis)
    return x


def arange(
    start: Any, stop: Any = None, step: Any = None, dtype: Any = None
) -> Any:
    """An `arange` up to an open size.

    Raises:
        ValueError: if it does not count by 1 from 0.
    """
    if stop is None:
        start, stop = 0, start
    if are_open(start) or step not in (None, 1) or start != 0:
        raise ValueError("an `arange` of an open size does not count from 0")
    return ops.cast(stop.range(), dtype or "int32")


def _filled(value: float) -> Callable[..., Any]:
    def filled(shape: Any, dtype: Any = None) -> Any:
        return full(shape, value, dtype)

    return filled


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A `full` of sizes that may be open."""
    sizes = [shape] if isinstance(shape, OpenSize) else list(shape)
    dtype = dtype or keras.config.floatx()
    return broadcast_to(
        ops.full([1] * len(sizes), fill_value, dtype=dtype), sizes
    )


OF_OPEN_SIZES: dict[str, Callable[..., Any]] = {
    "arange": arange,
    "full": full,
    "ones": _filled(1),
    "zeros": _filled(0),
}
"""Replacements, for open sizes, of operations that take sizes and no tensor."""
