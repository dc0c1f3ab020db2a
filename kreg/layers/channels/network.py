"""The channels of a model: constants, weighted sums, and which must stay."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Channels = NDArray[np.int64]
Values = NDArray[np.float64]
Part = tuple[Channels, tuple[int, ...]]
"""Channels, and the axes of a tensor along which they lie."""


@dataclass(frozen=True)
class Signal:
    """The channels of a symbolic tensor, mostly along one of its axes.

    Args:
        channels: the number of each channel, shape (axes...). Channels of
            different tensors with the same number stay or go together. They
            lie along one axis in most tensors, and along two in a tensor of,
            say, heads and their width. Axes of positions, such as batch and
            time, have no channels.
        constants: the value of each channel whose entries are the same at all
            positions and for all inputs of the model; NaN for a channel that
            varies. The same shape.
        axes: the axes of the tensor along which the channels lie, ascending.
        sums_to_one: the axis of positions along which the entries sum to one,
            as after softmax; None if none.
    """

    channels: Channels
    constants: Values
    axes: tuple[int, ...]
    sums_to_one: int | None = None

    @property
    def axis(self) -> int:
        """The only axis of the channels, or the last one."""
        return self.axes[-1]

    def with_constants(self, constants: Values) -> Self:
        """The same channels with other values."""
        return replace(self, constants=constants, sums_to_one=None)

    def varying(self) -> Self:
        """The same channels, as if all of them varied."""
        return self.with_constants(np.full(self.channels.shape, np.nan))

    def moved(self, axis: int) -> Self:
        """The same channels, which lie along another axis."""
        return replace(self, axes=(axis,), sums_to_one=None)


@dataclass(frozen=True)
class Parameter:
    """A weight with several axes that a custom layer uses itself.

    Args:
        values: its values, in the shape of the tensor.
        parts: numbers of channels and the axes along which they lie, ascending
            and different for each part. An entry stays if its channel stays in
            every part.
    """

    values: NDArray[Any]
    parts: tuple[Part, ...]


Operand = Signal | Parameter
"""The channels of a tensor, as far as they are known."""


@dataclass(frozen=True)
class WeightedSum:
    """Units that are weighted sums of channels.

    Args:
        layer: the path of the layer.
        inputs: the channels that are summed.
        units: the channels of the sums.
        reads: shape (inputs, units), whether the weight of an input in a unit
            is not 0.
        constants: the values of the inputs that are constant, NaN for others.
        folds: whether the bias can make up for a constant input that goes. If
            not, an input may still go if its constant is 0.
        merges: whether the weights of one constant input can make up for
            another that goes and is not 0.
    """

    layer: str
    inputs: Channels
    units: Channels
    reads: NDArray[np.bool_]
    constants: Values
    folds: bool
    merges: bool

    def needed(self, units: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The inputs that some units need, which cannot be folded or merged.

        Args:
            units: which units are kept.
        """
        replaceable = np.logical_or(self._foldable, self._mergeable)
        needed: NDArray[np.bool_] = np.logical_and(
            self._read_by(units), np.logical_not(replaceable)
        )
        return needed

    def missing_carrier(
        self, inputs: NDArray[np.bool_], units: NDArray[np.bool_]
    ) -> int | None:
        """The constant input to keep so that others can be merged into it.

        Args:
            inputs: which inputs are kept.
            units: which units are kept.

        Returns:
            The largest constant input that goes; None if none goes, or if a
            constant input is kept already.
        """
        removed = self._read_by(units) & self._mergeable & ~inputs
        if not removed.any() or (self._mergeable & inputs).any():
            return None
        size = np.where(removed, np.abs(self.constants), -1.0)
        return int(np.argmax(size))

    def _read_by(self, units: NDArray[np.bool_]) -> NDArray[np.bool_]:
        read: NDArray[np.bool_] = np.any(self.reads[:, units], axis=1)
        return read

    @property
    def _foldable(self) -> NDArray[np.bool_]:
        if self.folds:
            return ~np.isnan(self.constants)
        return self.constants == 0.0

    @property
    def _mergeable(self) -> NDArray[np.bool_]:
        if not self.merges or self.folds:
            return np.zeros(len(self.constants), bool)
        return ~np.isnan(self.constants) & (self.constants != 0.0)


@dataclass(frozen=True)
class EqualGroups:
    """Groups of channels that are equal in size and stay so.

    A group stays or goes as a whole, or shrinks by as many channels as all the
    other ones that stay.

    Args:
        layer: the path of the layer that demands it.
        parts: arrays of channels, each with a row for every group. Rows of
            different parts with the same index belong to one group. In each
            part, the groups that stay keep equal numbers of channels, at least
            one.
    """

    layer: str
    parts: tuple[Channels, ...]


class Network:
    """Numbered channels, in sets that stay or go together.

    Args:
        unused_rows: which rows of an embedding are never looked up, by the
            `id` of the variable. Defaults to `None`: any may be.

    Attributes:
        unused_rows: the same.
        unused: the channels of such rows in weights that custom layers use
            themselves.
        sums: the weighted sums, in the order of execution.
        equal_groups: the groups that must stay equal in size.
        bundles: the channels that each call of `new` made, one of which must
            stay.
        units: the channels that each layer with weights makes, by its path.
        rectangles: channels along several axes, and the number of each place
            along each of them: a channel stays if all of its places do.
        heads: for each softmax over positions, the channels along the axis
            that tells its heads apart.
        variables: each variable that a custom layer uses itself, and the
            channels along each of its axes; None for an axis that stays.
    """

    def __init__(
        self, unused_rows: Mapping[int, NDArray[np.bool_]] | None = None
    ) -> None:
        self.unused_rows = unused_rows or {}
        self.unused: set[int] = set()
        self.sums: list[WeightedSum] = []
        self.equal_groups: list[EqualGroups] = []
        self.bundles: list[Channels] = []
        self.units: dict[str, Channels] = {}
        self.rectangles: list[tuple[Channels, tuple[Channels, ...]]] = []
        self.heads: list[Channels] = []
        self.variables: dict[int, tuple[Any, list[Channels | None]]] = {}
        self._places: dict[tuple[Any, ...], tuple[Channels, ...]] = {}
        self._parents: list[int] = []
        self._pins: dict[int, str] = {}
        self._obstacles: dict[int, str] = {}

    def new(self, count: int, axis: int) -> Signal:
        """A signal of channels that are tied to no other."""
        return self.grid((count,), (axis,))

    def grid(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> Signal:
        """A signal of channels along several axes, tied to no other."""
        channels = self._numbers(math.prod(shape))
        if len(channels):
            self.bundles.append(channels)
        return self.signal(
            channels.reshape(shape), np.full(shape, np.nan), axes
        )

    def signal(
        self, channels: Channels, constants: Values, axes: tuple[int, ...]
    ) -> Signal:
        """A signal of numbered channels, of which a grid stays."""
        self.places(channels)
        return Signal(channels, constants, axes)

    def places(self, channels: Channels) -> tuple[Channels, ...]:
        """The numbers of the places along each axis of channels.

        A place stays if any channel in it does. Along one axis the places are
        the channels.
        """
        if channels.ndim == 1:
            return (channels,)
        key = channels.shape, channels.tobytes()
        if key not in self._places:
            places = tuple(map(self._numbers, channels.shape))
            self._places[key] = places
            self.rectangles.append((channels, places))
        return self._places[key]

    def _numbers(self, count: int) -> Channels:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def tie(self, first: Channels, second: Channels) -> None:
        """Let each channel stay or go with the one in the same place."""
        pairs = zip(
            first.ravel().tolist(), second.ravel().tolist(), strict=True
        )
        for a, b in pairs:
            a, b = self._root(a), self._root(b)
            self._parents[max(a, b)] = min(a, b)

    def pin(self, channels: Channels, reason: str) -> None:
        """Keep channels in any case; the first reason of a channel counts."""
        for channel in channels.ravel().tolist():
            self._pins.setdefault(channel, reason)

    def is_pinned(self, channels: Channels) -> bool:
        """Whether all of some channels are kept in any case."""
        return all(map(self._pins.__contains__, channels.ravel().tolist()))

    def note_obstacle(self, channels: Channels, reason: str) -> None:
        """Note, for the report, why constant channels vary from here on."""
        for channel in channels.ravel().tolist():
            self._obstacles.setdefault(channel, reason)

    def roots(self) -> Channels:
        """The set of each channel, by the smallest channel in it."""
        return np.array(
            [self._root(i) for i in range(len(self._parents))], np.int64
        )

    @property
    def pins(self) -> Iterable[tuple[int, str]]:
        """The channels to keep in any case, and why."""
        return self._pins.items()

    @property
    def obstacles(self) -> Iterable[tuple[int, str]]:
        """The constant channels that a layer made vary, and why."""
        return self._obstacles.items()

    def _root(self, channel: int) -> int:
        parents = self._parents
        while parents[channel] != channel:
            parents[channel] = parents[parents[channel]]
            channel = parents[channel]
        return channel


class Kept:
    """The channels that stay, and why.

    Args:
        network: the channels of the model.
    """

    def __init__(self, network: Network) -> None:
        self._roots = network.roots()
        self._reasons: dict[int, str] = {}
        self._mask = np.zeros(len(self._roots), bool)
        self._obstacles: dict[int, str] = {}
        for channel, reason in network.obstacles:
            self._obstacles.setdefault(int(self._roots[channel]), reason)

    def __call__(self, channels: Channels) -> NDArray[np.bool_]:
        """Whether each of some channels stays."""
        kept: NDArray[np.bool_] = self._mask[self._roots[channels]]
        return kept

    def add(self, channels: Channels, reason: str) -> bool:
        """Keep channels; return whether any was not kept yet."""
        roots = np.unique(self._roots[channels])
        new = roots[~self._mask[roots]]
        self._mask[new] = True
        for root in new.tolist():
            self._reasons[root] = reason
        return bool(len(new))

    def reason(self, channel: int) -> str:
        """Why a channel stays; empty if it goes."""
        root = int(self._roots[channel])
        if not self._mask[root]:
            return ""
        return self._obstacles.get(root, self._reasons[root])
