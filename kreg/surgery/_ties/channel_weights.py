"""Which entries of a model's weights go with each channel."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._keras_private import declared_inputs
from kreg.layers.channels.call import every_number, read_by
from kreg.layers.channels.network import Channels, Network
from kreg.surgery._compact.walk import Walk, walk
from kreg.surgery._ties.channel_sets import by_heads, fixed_sets
from kreg.surgery._ties.weight_probe import (
    Along,
    UnclearError,
    WeightProbe,
    numbered_entries,
)

OUTPUT = "it is an output of the model"


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
        with read_by(numbered_entries):
            walked = walk(
                model, False, sample if unknown else None, as_zeros=True
            )
        network, self._of_heads = walked.network, of_heads
        roots = self.roots = network.roots()
        self.fixed: dict[int, str] = {}
        heads = np.zeros(0, np.int64)
        if of_heads:
            self.roots, heads = by_heads(network, self.roots)
            others = np.setdiff1d(self.roots, heads)
            self.fixed = dict.fromkeys(others.tolist(), "it is in no head")
        self.fixed.update(fixed_sets(network, self.roots, set(heads.tolist())))
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
                probe = WeightProbe(
                    operation,
                    traced.reduce,
                    walked.inputs_of[key],
                    written,
                    len(self.roots),
                )
                try:
                    found = list(probe.channels_of_weights(free))
                except UnclearError:
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


def _numbers(operands: Sequence[Any]) -> Channels:
    """The numbers of the channels of several tensors, each once."""
    return _distinct(c for o in operands for c in every_number(o))


def _distinct(numbers: Iterable[Channels]) -> Channels:
    arrays = [n.ravel() for n in numbers]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *arrays]))
