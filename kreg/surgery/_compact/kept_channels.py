"""The channels that `compact` keeps, and the reason for each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kreg.layers.channels.network import (
    Channels,
    EqualGroups,
    Kept,
    Network,
    WeightedSum,
)


def kept_channels(
    network: Network,
    round_to: int = 1,
    least: Sequence[tuple[Channels, int]] = (),
) -> Kept:
    """Find the channels that stay.

    It starts with the channels that must stay, and adds the channels that they
    need until no more are needed. All other channels are removed.

    Args:
        network: the channels of a model.
        round_to: each layer keeps a multiple of it, or all of its units.
        least: the channels of layers, and how many of them stay at least.
    """
    kept = Kept(network)
    for channel, reason in network.pins:
        kept.add(np.array([channel]), reason)
    seen: dict[int, NDArray[np.bool_]] = {}
    growing = True
    while growing:
        _keep_inputs_of_kept_units(network, kept, seen)
        growing = (
            _keep_grids(network, kept)
            or _keep_carriers(network, kept)
            or _keep_equal_numbers(network, kept)
            or _keep_one_of_each(network, kept)
            or _round_up(network, kept, round_to)
            or _keep_at_least(kept, least)
        )
    return kept


def _keep_inputs_of_kept_units(
    network: Network, kept: Kept, seen: dict[int, NDArray[np.bool_]]
) -> None:
    """Keep the inputs that kept units need, through all layers."""
    growing = True
    while growing:
        growing = False
        for i, weighted in enumerate(reversed(network.sums)):
            units = kept(weighted.units)
            if i in seen and np.array_equal(seen[i], units):
                continue
            seen[i] = units
            growing |= kept.add(
                weighted.inputs[weighted.needed(units)],
                _reason(weighted),
            )


def _keep_carriers(network: Network, kept: Kept) -> bool:
    """Keep one constant channel wherever it must stand for the other ones."""
    growing = False
    for weighted in network.sums:
        carrier = weighted.missing_carrier(
            kept(weighted.inputs), kept(weighted.units)
        )
        if carrier is not None:
            growing |= kept.add(
                weighted.inputs[carrier : carrier + 1],
                "it stands for all constant inputs of "
                f"`{weighted.layer}`, whose padding differs from them",
            )
    return growing


def _keep_grids(network: Network, kept: Kept) -> bool:
    """Keep whole grids of channels that lie along several axes.

    An entry of a weight or a tensor stays if its place along each axis stays.
    So the entries that stay form a grid.
    """
    reason = "others in its place along each axis stay"
    growing = False
    for channels, places in network.rectangles:
        stays = kept(channels)
        for axis, place in enumerate(places):
            others = tuple(a for a in range(stays.ndim) if a != axis)
            growing |= kept.add(place[stays.any(axis=others)], reason)
        if not any(kept(place).any() for place in places):
            continue
        for place in places:
            if not kept(place).any():
                growing |= kept.add(place[:1], reason)
        growing |= kept.add(channels[np.ix_(*map(kept, places))], reason)
    return growing


def _keep_one_of_each(network: Network, kept: Kept) -> bool:
    """Keep one unit of each layer that would have none.

    It is the unit that needs the fewest further channels.
    """
    growing = False
    for channels in network.bundles:
        if kept(channels).any():
            continue
        growing |= kept.add(
            _cheapest(network, kept, channels, 1),
            "one unit of a layer must stay",
        )
    return growing


def _keep_equal_numbers(network: Network, kept: Kept) -> bool:
    """Keep more channels of the groups that would have fewer than others."""
    growing = False
    for groups in network.equal_groups:
        for part, stay, wanted in _numbers_to_keep(groups, kept):
            for row in np.flatnonzero(stay & (kept(part).sum(1) < wanted)):
                missing = part[row][~kept(part[row])]
                count = wanted - (len(part[row]) - len(missing))
                growing |= kept.add(
                    _cheapest(network, kept, missing, count),
                    f"`{groups.layer}` keeps equal numbers in its groups",
                )
    return growing


def _numbers_to_keep(
    groups: EqualGroups, kept: Kept
) -> list[tuple[Channels, NDArray[np.bool_], int]]:
    """For each part, which rows stay, and how many channels of each row."""
    counts = [kept(part).sum(axis=1) for part in groups.parts]
    stay = np.any([count > 0 for count in counts], axis=0)
    return [
        (part, stay, max(1, int(count.max())))
        for part, count in zip(groups.parts, counts, strict=True)
    ]


def _cheapest(
    network: Network, kept: Kept, channels: Channels, count: int
) -> Channels:
    """The channels that need the fewest further ones, in order."""
    needs = np.zeros(len(channels), np.int64)
    order = np.argsort(channels)
    for weighted in network.sums:
        found = np.isin(weighted.units, channels)
        if found.any():
            further = weighted.reads[~kept(weighted.inputs)].sum(axis=0)
            place = np.searchsorted(channels[order], weighted.units[found])
            np.add.at(needs, order[place], further[found])
    return channels[np.argsort(needs, kind="stable")[:count]]


def _round_up(network: Network, kept: Kept, round_to: int) -> bool:
    """Keep more units until their number is a multiple of `round_to`."""
    growing = False
    for channels in network.units.values():
        if channels.ndim > 1:
            continue
        while (mask := kept(channels)).sum() % round_to and not mask.all():
            first = int(np.argmin(mask))
            growing |= kept.add(
                channels[first : first + 1], f"`round_to={round_to}`"
            )
    return growing


def _keep_at_least(kept: Kept, least: Sequence[tuple[Channels, int]]) -> bool:
    """Keep as many units as other layers that share a size in the config."""
    growing = False
    for channels, count in least:
        while (mask := kept(channels)).sum() < count:
            first = int(np.argmin(mask))
            growing |= kept.add(
                channels[first : first + 1],
                "the config of the model has no other size for it",
            )
    return growing


def _reason(weighted: WeightedSum) -> str:
    return f"`{weighted.layer}` reads it"
