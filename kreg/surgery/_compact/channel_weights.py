"""Which entries of a model's weights go with each channel."""

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._keras_private import declared_inputs
from kreg.layers.channels.call import every_number, read_by
from kreg.layers.channels.network import (
    Channels,
    EqualGroups,
    Kept,
    Network,
    Signal,
)
from kreg.surgery._compact.walk import Walk, walk

OUTPUT = "it is an output of the model"


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


class ChannelWeights:
    """The channels of a model, and the entries of weights that go with them.

    They are found by the same code that makes layers smaller for `compact`. It
    is given weights whose values are the numbers of their entries. The numbers
    that are missing from the smaller weights are those of the entries that go.

    Args:
        model: a built model.
        sample: its inputs, for a model whose inputs are not known from its
            layers; else None.
        of_heads: whether the channels of one head are one set, and all others
            must stay. Defaults to `False`.

    Attributes:
        roots: the set of each channel. Channels in one set stay or go
            together.
        fixed: why sets of channels must stay, by the number of the set.
        fixed_heads: the reasons of those that are heads.
        units: the channels that each layer makes, by its path.
        weights: the channels along the axes of each weight, by the `id` of the
            variable. The channels that it writes to come first.
    """

    def __init__(
        self, model: keras.Model, sample: Any = None, *, of_heads: bool = False
    ) -> None:
        unknown = declared_inputs(model) is None
        with read_by(_numbered):
            walked = walk(
                model, False, sample if unknown else None, as_zeros=True
            )
        network, self._of_heads = walked.network, of_heads
        roots = self.roots = network.roots()
        self.fixed: dict[int, str] = {}
        heads = np.zeros(0, np.int64)
        if of_heads:
            self.roots, heads = _by_heads(network, self.roots)
            others = np.setdiff1d(self.roots, heads)
            self.fixed = dict.fromkeys(others.tolist(), "it is in no head")
        self.fixed.update(_fixed(network, self.roots, set(heads.tolist())))
        self.fixed_heads = list(
            dict.fromkeys(
                self.fixed[root]
                for root in heads.tolist()
                if root in self.fixed
            )
        )
        for root in self.roots[_numbers(walked.outputs)].tolist():
            self.fixed[root] = OUTPUT
        self.units: Mapping[str, Channels] = network.units
        found: dict[int, list[Along]] = {}
        for key, (_, axes) in network.variables.items():
            found[key] = [
                Along(axis, channels, not _is_read(network, roots, axis, axes))
                for axis, channels in enumerate(axes)
                if channels is not None
            ]
        for key, axes_of_layer in self._in_layers(walked):
            found.setdefault(key, []).extend(axes_of_layer)
        self.weights = {
            key: sorted(axes, key=_written_first) for key, axes in found.items()
        }

    def is_free(self, channels: Channels) -> NDArray[np.bool_]:
        """Whether channels can be removed."""
        roots = self.roots[channels]
        free: NDArray[np.bool_] = ~np.isin(roots, list(self.fixed))
        return free

    def _numbers_in(
        self, network: Network, operands: Sequence[Any]
    ) -> Channels:
        """The numbers of the channels of several tensors, each once.

        Of channels along several axes, these are the places along the axes.
        """
        if not self._of_heads:
            return _numbers(operands)
        return _distinct(
            places
            for operand in operands
            for channels in every_number(operand)
            for places in network.places(channels)
        )

    def _in_layers(self, walked: Walk) -> Iterator[tuple[int, list[Along]]]:
        """The channels along the axes of the weights that layers reduce."""
        operations = {
            id(call.operation): call.operation
            for call in walked.graph.graph.calls
        }
        for key, traced in walked.layers.items():
            operation = operations[key]
            if traced.reduce is None or not isinstance(
                operation, keras.layers.Layer
            ):
                continue
            read = self._numbers_in(walked.network, walked.inputs_of[key])
            written = self._numbers_in(walked.network, traced.outputs)
            for channels in (read, np.setdiff1d(written, read)):
                free = channels[self.is_free(channels)]
                if not len(free):
                    continue
                probe = _Probe(
                    operation,
                    traced.reduce,
                    walked.inputs_of[key],
                    written,
                    len(self.roots),
                )
                try:
                    found = list(probe.channels_of_weights(free))
                except _UnclearError:
                    for root in self.roots[free].tolist():
                        self.fixed.setdefault(
                            root,
                            f"which weights of `{operation.name}` belong to it "
                            "is not known",
                        )
                    continue
                for variable, along in found:
                    yield id(variable), along


def _is_read(
    network: Network,
    roots: Channels,
    axis: int,
    axes: Sequence[Channels | None],
) -> bool:
    """Whether a weight only reads the channels along one of its axes.

    Args:
        network: the channels of the model.
        roots: the set of each channel.
        axis: the axis.
        axes: the channels along all axes; None where there are none.
    """
    own = axes[axis]
    others = [a for a in axes if a is not None and a is not own]
    return own is not None and any(
        np.isin(roots[own], roots[weighted.inputs]).all()
        and np.isin(roots[other], roots[weighted.units]).all()
        for other in others
        for weighted in network.sums
    )


def _written_first(along: Along) -> tuple[bool, int]:
    """The sort key of axes: written ones first, and of these the last axis.

    A recurrent kernel reads the channels that it writes.
    """
    return not along.is_written, -along.axis


def _by_heads(network: Network, roots: Channels) -> tuple[Channels, Channels]:
    """The set of each channel, if the channels of a head are one set.

    Heads that share channels, such as those of a key, are one set too.

    Args:
        network: the channels of the model.
        roots: the set of each channel, if they are not.

    Returns:
        The sets, and those of them that are heads.
    """
    nothing = np.zeros(0, np.int64)
    wanted = roots[np.concatenate([nothing, *network.heads])]
    cells, owners = [nothing], [nothing]
    for channels, places in network.rectangles:
        for axis, numbers in enumerate(places):
            if not np.isin(roots[numbers], wanted).all():
                continue
            rows = np.moveaxis(roots[channels], axis, 0)
            rows = rows.reshape(len(numbers), -1)
            cells += [roots[numbers], rows.ravel()]
            owners += [
                roots[numbers],
                np.repeat(roots[numbers], rows.shape[1]),
            ]
    pairs = np.stack([np.concatenate(cells), np.concatenate(owners)])
    pairs = np.unique(pairs, axis=1)
    is_same = pairs[0, 1:] == pairs[0, :-1]
    joined = _joined(pairs[1, :-1][is_same], pairs[1, 1:][is_same], len(roots))
    heads = np.arange(len(roots))
    heads[pairs[0]] = joined[pairs[1]]
    return heads[roots], np.unique(heads[pairs[0]])


def _joined(first: Channels, second: Channels, count: int) -> Channels:
    """The smallest of the numbers that pairs of numbers join with each one."""
    joined = np.arange(count)
    links = np.unique(np.stack([first, second]), axis=1).T.tolist()
    for one, other in links:
        low, high = sorted((joined[one], joined[other]))
        joined[joined == high] = low
    return joined


def _fixed(
    network: Network, roots: Channels, heads: Collection[int]
) -> Iterator[tuple[int, str]]:
    """The sets of channels that must stay, and why.

    Of several reasons for a set, the one that counts comes last.

    Args:
        network: the channels of the model.
        roots: the set of each channel.
        heads: the sets that are heads.
    """
    for channels, places in network.rectangles:
        for numbers in (channels, *places):
            for root in np.unique(roots[numbers]).tolist():
                if root not in heads:
                    yield root, "it lies along several axes, as heads do"
    for groups in network.equal_groups:
        for root in _unequal(groups, roots):
            yield root, f"`{groups.layer}` keeps equal numbers in its groups"
    for channel, reason in reversed(list(network.pins)):
        yield int(roots[channel]), reason


def _unequal(groups: EqualGroups, roots: Channels) -> list[int]:
    """The sets without which groups would not be equal in size."""
    sets, numbers = np.unique(
        np.concatenate([roots[part].ravel() for part in groups.parts]),
        return_inverse=True,
    )
    are_equal = np.ones(len(sets), bool)
    are_whole = np.ones(len(sets), bool)
    start, first = 0, None
    for part in groups.parts:
        rows = numbers[start : start + part.size].reshape(part.shape)
        start += part.size
        counts = np.stack([np.bincount(row, None, len(sets)) for row in rows])
        are_equal &= (counts == counts[0]).all(axis=0)
        # A set may also consist of the same groups in each part.
        share = counts / part.shape[1]
        first = share if first is None else first
        are_whole &= np.isin(share, (0, 1)).all(axis=0)
        are_whole &= (share == first).all(axis=0)
    return [int(root) for root in sets[~(are_equal | are_whole)]]


def _numbers(operands: Sequence[Any]) -> Channels:
    """The numbers of the channels of several tensors, each once."""
    return _distinct(c for o in operands for c in every_number(o))


def _distinct(numbers: Iterable[Channels]) -> Channels:
    arrays = [n.ravel() for n in numbers]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *arrays]))


def _numbered(variable: Any) -> NDArray[Any]:
    """The entries of a weight, numbered from 1."""
    shape = tuple(variable.shape)
    count = int(np.prod(shape, dtype=int))
    # Single precision holds whole numbers up to this one.
    dtype = np.float32 if count < 2**24 else np.float64
    return np.arange(1, count + 1, dtype=dtype).reshape(shape)


class _UnclearError(Exception):
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


class _Probe:
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
            _UnclearError: if the channels are not clear.
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
                    self._numbered[name] = _numbered(variable)
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
            raise _UnclearError
        if not left.size:
            sizes = list(zip(left.shape, numbered.shape, strict=True))
            if any(n not in (0, size) for n, size in sizes):
                raise _UnclearError
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
        raise _UnclearError


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
            raise _UnclearError
        codes += one.astype(np.int64) << digit
        is_found &= one | zero
    return np.where(is_found, channels[np.where(is_found, codes, 0)], -1)
