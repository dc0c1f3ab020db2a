"""Sets of channels that stay or go together, and which of them must stay."""

from collections.abc import Collection, Iterator

import numpy as np

from kreg.layers.channels.network import Channels, EqualGroups, Network


def by_heads(network: Network, roots: Channels) -> tuple[Channels, Channels]:
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


def fixed_sets(
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
