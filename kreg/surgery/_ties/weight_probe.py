"""Which places along the axes of a layer's weights go with channels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.layers.channels.network import Channels, Kept, Signal


@dataclass(frozen=True, eq=False)
class Along:
    """The channels along one axis of a weight.

    Args:
        axis: the axis.
        channels: for each place along the axis, the number of the channel with
            which it stays or goes; -1 for none.
        is_written: whether the weight is one of those that make the channels,
            or that change them on their way. Otherwise it only reads them.
    """

    axis: int
    channels: Channels
    is_written: bool


def numbered_entries(variable: Any) -> NDArray[Any]:
    """The entries of a weight, numbered from 1."""
    shape = tuple(variable.shape)
    count = int(np.prod(shape, dtype=int))
    # Single precision holds whole numbers up to this one.
    dtype = np.float32 if count < 2**24 else np.float64
    return np.arange(1, count + 1, dtype=dtype).reshape(shape)


class UnclearError(Exception):
    """The entries of a weight that go with channels are not clear."""


class _Without(Kept):
    """All channels but some, even if others of their sets stay.

    Args:
        count: the number of all channels.
        gone: those that go.
    """

    def __init__(self, count: int, gone: Channels) -> None:
        # Channels stay or go by themselves here, not in sets.
        self._stays = np.ones(count, bool)
        self._stays[gone] = False

    def __call__(self, channels: Channels) -> NDArray[np.bool_]:
        stays: NDArray[np.bool_] = self._stays[channels]
        return stays


class WeightProbe:
    """Finds which places along the axes of a layer's weights go with channels.

    Args:
        layer: the layer.
        reduce: how it becomes smaller.
        operands: the channels of its inputs.
        written: the numbers of the channels of its outputs.
        count: the number of all channels of the model.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        reduce: Callable[[Kept], Any],
        operands: Sequence[Any],
        written: Channels,
        count: int,
    ) -> None:
        self._layer, self._reduce = layer, reduce
        self._operands, self._count = operands, count
        self._written = written
        self._numbered: dict[str, NDArray[Any]] = {}

    def channels_of_weights(
        self, channels: Channels
    ) -> Iterator[tuple[keras.Variable, list[Along]]]:
        """The channels along the axes of each weight.

        Each trial removes the half of the channels whose index has a certain
        binary digit. The trials in which a place goes show the digits of its
        channel's index, so few trials are enough.

        Args:
            channels: the numbers of the channels to look for.

        Raises:
            UnclearError: if the channels are not clear.
        """
        codes = np.arange(len(channels))
        trials = []
        for digit in range(max(1, (len(channels) - 1).bit_length())):
            is_one = (codes >> digit & 1).astype(bool)
            trials.append(
                (
                    self._places_gone(channels[is_one]),
                    self._places_gone(channels[~is_one]),
                )
            )
        for name in trials[0][0]:
            variable = attrgetter(name)(self._layer)
            numbers = [
                _decoded(
                    channels, [(a[name][i], b[name][i]) for a, b in trials]
                )
                for i in range(len(variable.shape))
            ]
            yield (
                variable,
                [
                    Along(i, n, bool(np.isin(n, self._written).any()))
                    for i, n in enumerate(numbers)
                    if (n >= 0).any()
                ],
            )

    def _places_gone(
        self, gone: Channels
    ) -> dict[str, list[NDArray[np.bool_]]]:
        """The places along each axis of each weight that go with channels."""
        stays = _Without(self._count, gone)
        with np.errstate(all="ignore"):
            reduction = self._reduce(stays)
        places = {}
        for name, left in reduction.weights.items():
            variable = attrgetter(name)(self._layer)
            if variable is not None:
                if name not in self._numbered:
                    self._numbered[name] = numbered_entries(variable)
                places[name] = self._gone(self._numbered[name], left, stays)
        return places

    def _gone(
        self, numbered: NDArray[Any], left: NDArray[Any], stays: Kept
    ) -> list[NDArray[np.bool_]]:
        """The places along each axis of a weight that are not left.

        Args:
            numbered: the entries of the weight.
            left: what is left of them.
            stays: the channels that stay.
        """
        if left.ndim != numbered.ndim:
            raise UnclearError
        if not left.size:
            sizes = list(zip(left.shape, numbered.shape, strict=True))
            if any(n not in (0, size) for n, size in sizes):
                raise UnclearError
            return [np.full(size, n == 0) for n, size in sizes]
        places = [
            (_line(left, axis).astype(np.int64) - 1)
            // int(np.prod(numbered.shape[axis + 1 :], dtype=int))
            % size
            for axis, size in enumerate(numbered.shape)
        ]
        if not _is_cut_from(numbered, left, places):
            places = [self._scaled(numbered, left, stays)]
        gone = []
        for size, there in zip(numbered.shape, places, strict=True):
            mask = np.ones(size, bool)
            mask[there] = False
            gone.append(mask)
        return gone

    def _scaled(
        self, numbered: NDArray[Any], left: NDArray[Any], stays: Kept
    ) -> NDArray[np.int64]:
        """The places that are left of a vector whose entries are also scaled.

        They are in the order of the channels of the only input.
        """
        signals = [o for o in self._operands if isinstance(o, Signal)]
        if numbered.ndim == 1 and len(signals) == 1:
            stay = stays(signals[0].channels)
            if stay.shape == numbered.shape and stay.sum() == len(left):
                return np.flatnonzero(stay)
        raise UnclearError


def _line(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """The first entries of an array along one axis."""
    line: NDArray[Any] = np.moveaxis(array, axis, -1)
    return line[(0,) * (array.ndim - 1)]


def _is_cut_from(
    numbered: NDArray[Any],
    left: NDArray[Any],
    places: Sequence[NDArray[np.int64]],
) -> bool:
    """Whether an array is another one, cut to places along each axis.

    Only some entries are compared: large kernels are cut many times.
    """
    first, last = ([p[i] for p in places] for i in (0, -1))
    if numbered[tuple(last)] != left[(-1,) * left.ndim]:
        return False
    for axis, there in enumerate(places):
        line: Any = [*first[:axis], there, *first[axis + 1 :]]
        if not np.array_equal(numbered[tuple(line)], _line(left, axis)):
            return False
    return True


def _decoded(
    channels: Channels,
    gone: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> Channels:
    """The channel that each place along an axis goes with; -1 for none.

    Args:
        channels: the channels to choose from.
        gone: for each binary digit, whether a place goes with the channels
            whose position has that digit, and whether with the other ones.
    """
    codes = np.zeros(len(gone[0][0]), np.int64)
    is_found = np.ones(len(codes), bool)
    for digit, (one, zero) in enumerate(gone):
        if np.logical_and(one, zero).any():
            raise UnclearError
        codes += one.astype(np.int64) << digit
        is_found &= one | zero
    return np.where(is_found, channels[np.where(is_found, codes, 0)], -1)
