"""The channels of a whole model, and what ties them."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kreg.surgery._compact._reader import Reader
from kreg.surgery._compact._signal import Channels, Signal


class Network:
    """Channels, numbered, in sets that stay or go together.

    Attributes:
        readers: the layers whose units each read several channels.
        bundles: the channels of each tensor, of which one must stay.
        made: the channels that each layer with weights makes, by its path.
    """

    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.bundles: list[Channels] = []
        self.made: dict[str, Channels] = {}
        self._parents: list[int] = []
        self._pins: dict[int, str] = {}
        self._obstacles: dict[int, str] = {}

    def new(self, count: int, axis: int) -> Signal:
        """A signal of channels that are tied to no other."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        channels = np.arange(first, first + count)
        if count:
            self.bundles.append(channels)
        return Signal(channels, np.full(count, np.nan), axis)

    def tie(self, first: Channels, second: Channels) -> None:
        """Let each channel stay or go with the one in the same place."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self._root(a), self._root(b)
            self._parents[max(a, b)] = min(a, b)

    def pin(self, channels: Channels, reason: str) -> None:
        """Keep channels whatever else is found; the first reason counts."""
        for channel in channels.tolist():
            self._pins.setdefault(channel, reason)

    def note_obstacle(self, channels: Channels, reason: str) -> None:
        """Tell what made constant channels vary, in case they are kept."""
        for channel in channels.tolist():
            self._obstacles.setdefault(channel, reason)

    def roots(self) -> Channels:
        """The number of the set of each channel."""
        return np.array(
            [self._root(i) for i in range(len(self._parents))], np.int64
        )

    @property
    def pins(self) -> Iterable[tuple[int, str]]:
        """The channels to keep in any case, and why."""
        return self._pins.items()

    @property
    def obstacles(self) -> Iterable[tuple[int, str]]:
        """The channels whose constant was lost on the way, and where."""
        return self._obstacles.items()

    def _root(self, channel: int) -> int:
        parents = self._parents
        while parents[channel] != channel:
            parents[channel] = parents[parents[channel]]
            channel = parents[channel]
        return channel


class Kept:
    """Which channels stay, and why.

    Args:
        network: the channels.
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
        """Why a channel stays."""
        root = int(self._roots[channel])
        return self._obstacles.get(root, self._reasons[root])
