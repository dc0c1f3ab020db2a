"""Ties of channels: all entries of weights that go with a channel."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.binding.ties import Tie
from kreg.regularizers import Penalty
from kreg.regularizers.tied_groups import Slices
from kreg.surgery._ties.channel_weights import OUTPUT, ChannelWeights
from kreg.surgery._ties.weight_probe import Along
from kreg.surgery.owned_weights import OwnedWeight

_OF_THE_MODEL = ("is an input of the model", OUTPUT)


class ChannelTies:
    """The ties of a penalty on whole channels.

    Every entry of a weight is in one group at most: that of the channel that
    it writes to, or else, where that channel must stay, that of the channel
    that it reads.

    Args:
        model: a built model.
        weights: its weights that can have a regularizer.
        sample: its inputs, for a model whose inputs are not known from its
            layers; else None.
        of_heads: whether the channels of a head of attention are one group,
            and other channels are in none. Defaults to `False`.
    """

    def __init__(
        self,
        model: keras.Model,
        weights: Sequence[OwnedWeight],
        sample: Any = None,
        *,
        of_heads: bool = False,
    ) -> None:
        self._channels = ChannelWeights(model, sample, of_heads=of_heads)
        self._weights = [
            weight
            for weight in weights
            if id(weight.variable) in self._channels.weights
        ]

    def ties(
        self, penalty: Penalty, layers: Collection[keras.layers.Layer]
    ) -> list[Tie]:
        """The ties on the channels to which some layers write.

        Those that share a weight are one tie.

        Args:
            penalty: the user's own object.
            layers: the layers.
        """
        inside = set(map(id, layers))
        chosen = {
            root
            for weight in self._weights
            if id(weight.layer) in inside
            for root in self._written(weight)
        }
        parts = []
        for weight in self._weights:
            slices = self._slices(weight, chosen)
            if slices is not None:
                parts.append((weight, slices))
        return [
            Tie(
                f"{of_tie[0][0].layer_path}/{penalty.ties}",
                penalty,
                [(w.variable, s) for w, s in _renumbered(of_tie)],
            )
            for of_tie in _connected(parts)
        ]

    def obstacles(self) -> list[str]:
        """Why channels other than inputs and outputs of the model must stay."""
        makers: dict[str, list[str]] = {}
        for path, channels in self._channels.units.items():
            roots = self._channels.roots[np.unique(channels)].tolist()
            reasons = Counter(
                self._channels.fixed[root]
                for root in roots
                if root in self._channels.fixed
            )
            for reason, count in reasons.items():
                if not reason.endswith(_OF_THE_MODEL):
                    makers.setdefault(reason, []).append(f"{count} of `{path}`")
        return [
            f"{', '.join(counts)}: {reason}"
            for reason, counts in makers.items()
        ]

    @property
    def fixed_heads(self) -> list[str]:
        """Why heads must stay."""
        return self._channels.fixed_heads

    def _along(self, weight: OwnedWeight) -> Iterator[tuple[Along, Any]]:
        """The axes of a weight, and the channel in each place; -1 for none."""
        for along in self._channels.weights[id(weight.variable)]:
            roots = self._channels.roots[along.channels]
            free = self._channels.is_free(along.channels)
            yield along, np.where(free & (along.channels >= 0), roots, -1)

    def _written(self, weight: OwnedWeight) -> list[int]:
        """The channels that a weight writes to."""
        return [
            root
            for along, roots in self._along(weight)
            if along.is_written
            for root in np.unique(roots[roots >= 0]).tolist()
        ]

    def _slices(
        self, weight: OwnedWeight, chosen: Collection[int]
    ) -> Slices | None:
        """The channel of each entry of a weight, if any is a chosen one."""
        shape = tuple(int(size) for size in weight.variable.shape)
        claimed: list[tuple[int, NDArray[np.int64]]] = []
        for along, roots in self._along(weight):
            if (roots >= 0).any():
                claimed.append((along.axis, roots))
            if (roots >= 0).all():
                break
        if not claimed:
            return None
        (axis, numbers), *others = claimed
        view = shape
        if others:
            numbers = np.full(shape, -1)
            for axis, roots in claimed:
                places = np.moveaxis(numbers, axis, -1)
                places[...] = np.where(places < 0, roots, places)
            axis, view, numbers = 0, (numbers.size,), numbers.ravel()
        numbers = np.where(np.isin(numbers, list(chosen)), numbers, -1)
        return Slices(view, axis, numbers) if (numbers >= 0).any() else None


_Part = tuple[OwnedWeight, Slices]


def _renumbered(parts: Sequence[_Part]) -> list[_Part]:
    """The same groups, numbered from 0."""
    found = np.unique(np.concatenate([s.numbers for _, s in parts]))
    found = found[found >= 0]
    return [
        (
            weight,
            Slices(
                slices.view,
                slices.axis,
                np.where(
                    slices.numbers < 0,
                    -1,
                    np.searchsorted(found, slices.numbers),
                ),
            ),
        )
        for weight, slices in parts
    ]


def _connected(parts: Sequence[_Part]) -> list[list[_Part]]:
    """The parts that share groups with each other, in the order of weights."""
    ties: list[tuple[set[int], list[int]]] = []
    for i, (_, slices) in enumerate(parts):
        groups, members = set(slices.numbers.tolist()) - {-1}, [i]
        apart = []
        for other, its_members in ties:
            if groups.isdisjoint(other):
                apart.append((other, its_members))
            else:
                groups |= other
                members += its_members
        ties = [*apart, (groups, members)]
    return [
        [parts[i] for i in sorted(members)]
        for _, members in sorted(ties, key=lambda tie: min(tie[1]))
    ]
