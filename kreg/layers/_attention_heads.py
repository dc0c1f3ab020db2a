"""The heads of an attention layer, and the widths of its heads."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import activations, ops
from numpy.typing import NDArray

from kreg.layers.channels.activations import applied_to_constants
from kreg.layers.channels.network import (
    Channels,
    EqualGroups,
    Kept,
    Network,
    Signal,
    Values,
    WeightedSum,
)

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Projection:
    """A projection of an attention layer.

    Args:
        kernel: shape (channels, heads, width); for the output projection
            (heads, width, units).
        bias: shape (heads, width); for the output projection (units,). None if
            there is none.
    """

    kernel: NDArray[Any]
    bias: NDArray[np.float64] | None


@dataclass(frozen=True)
class Conditions:
    """Properties of an attention layer and its call that heads depend on.

    Args:
        weights_sum_to_one: whether the attention weights of each position sum
            to 1, so that a constant value passes through.
        returns_scores: whether the attention weights are also an output.
        masks_heads: whether each head has a mask of its own.
        has_one_width: whether keys and values have the same width.
    """

    weights_sum_to_one: bool
    returns_scores: bool
    masks_heads: bool
    has_one_width: bool


class AttentionHeads:
    """The heads of an attention layer: what they read, and what reads them.

    A cell is one entry of the width of one query head. A cell of the values
    matters to a unit if the value varies and the output kernel is not 0 there.
    A head matters if one of its cells does. A cell of the queries and keys
    matters if its query is not 0 and its key varies over the positions: a
    softmax ignores a term that all scores share. Heads, entries of the
    width, and channels of the inputs can go if they matter to no kept unit.

    Several query heads may share a key head and its value head. Such a set goes
    as a whole, and the sets that stay keep equal numbers of query heads.

    Args:
        path: the name of the layer in reports.
        network: the channels of the model, to which heads, widths and units are
            added.
        projections: those of `query`, `key`, `value`, `output`, and perhaps of
            a `gate` by which the values are multiplied.
        inputs: the channels of `query`, `key` and `value`.
        conditions: properties of the layer and its call.

    Attributes:
        units: the units of the output projection.
    """

    def __init__(
        self,
        path: str,
        network: Network,
        projections: Mapping[str, Projection],
        inputs: Mapping[str, Signal],
        conditions: Conditions,
    ) -> None:
        self._path, self._network = path, network
        self._projections, self._conditions = projections, conditions
        self._inputs = {
            name: inputs["query" if name == "gate" else name]
            for name in projections
            if name != "output"
        }
        _, self._sets, key_width = projections["key"].kernel.shape
        count, value_width, units = projections["output"].kernel.shape
        self._repeats = count // self._sets
        self._head_sets = network.new(self._sets, 0).channels
        self._heads = self._head_sets
        if self._repeats > 1:
            self._heads = network.new(count, 0).channels
            parts = (
                self._heads.reshape(self._sets, -1),
                self._head_sets[:, None],
            )
            network.equal_groups.append(EqualGroups(path, parts))
        self._key_width = network.new(key_width, 0).channels
        self._value_width = network.new(value_width, 0).channels
        if conditions.has_one_width:
            widths = np.stack([self._key_width, self._value_width])
            network.equal_groups.append(EqualGroups(path, (widths,)))
        if conditions.returns_scores or conditions.masks_heads:
            network.pin(
                self._heads,
                f"`{path}` returns the attention weights of each head"
                if conditions.returns_scores
                else f"`{path}` has a mask for each head",
            )
        self._passed = self._values_after_attention()
        self.units = network.new(units, 0).with_constants(
            self._unit_constants()
        )
        self._add_sums()

    def counts(self, kept: Kept) -> tuple[int, int, int, int]:
        """The numbers of heads, sets, key and value widths that are kept."""
        heads, sets, keys, values = (
            int(mask.sum()) for mask in self._stay(kept)
        )
        return heads, sets, keys, values

    def reduced(self, kept: Kept) -> dict[str, Projection]:
        """The smaller projections; either all have a bias, or none has."""
        heads, sets, keys, values = self._stay(kept)
        rows = {
            "query": (heads, keys),
            "key": (sets, keys),
            "value": (sets, values),
            "gate": (heads, values),
        }
        reduced = {
            name: self._reduced_input(name, kept, *rows[name])
            for name in self._inputs
        }
        reduced["query"] = _rescaled(reduced["query"], len(keys))
        units, output = kept(self.units.channels), self._projections["output"]
        stays = heads[:, None] & values
        folded = np.where(stays, 0.0, np.nan_to_num(self._passed))
        shift = np.tensordot(folded, output.kernel, 2)
        bias = shift if output.bias is None else output.bias + shift
        reduced["output"] = Projection(
            output.kernel[heads][:, values][..., units], bias[units]
        )
        needed = (reduced[name].bias for name in reduced if name != "key")
        # A constant added to all keys changes no attention weight.
        if output.bias is None and not any(np.any(b) for b in needed):
            return {n: Projection(p.kernel, None) for n, p in reduced.items()}
        return reduced

    def _stay(self, kept: Kept) -> tuple[Bools, Bools, Bools, Bools]:
        """Which heads, sets of heads, key widths and value widths stay.

        If several heads stay, they keep a width of at least 2. To heads of
        width 1, Keras on TensorFlow may add the biases along another axis.
        """
        heads, sets = kept(self._heads), kept(self._head_sets)
        keys, values = kept(self._key_width), kept(self._value_width)
        if heads.sum() > 1:
            for width in (keys, values):
                if width.sum() == 1:
                    width[int(np.argmin(width))] = True
        return heads, sets, keys, values

    def _reduced_input(
        self,
        name: str,
        kept: Kept,
        heads: Bools,
        width: Bools,
    ) -> Projection:
        projection, signal = self._projections[name], self._inputs[name]
        channels = kept(signal.channels)
        removed = np.where(channels, 0.0, np.nan_to_num(signal.constants))
        shift = np.tensordot(removed, projection.kernel, 1)
        bias = shift if projection.bias is None else projection.bias + shift
        return Projection(
            projection.kernel[channels][:, heads][..., width],
            bias[heads][:, width],
        )

    def _values_after_attention(self) -> Values:
        """The constants of the cells before the output projection."""
        passed = self._cells("value")
        if not self._conditions.weights_sum_to_one:
            passed = np.where(passed == 0, 0.0, np.nan)
        if "gate" in self._projections:
            cells = self._cells("gate")
            gate = applied_to_constants(
                activations.sigmoid, cells.reshape(-1), "float64"
            ).reshape(cells.shape)
            passed = np.where(passed == 0, 0.0, passed * gate)
        return passed

    def _cells(self, name: str) -> Values:
        """The constants of a projection's cells, for each query head."""
        projection, signal = self._projections[name], self._inputs[name]
        varies = np.isnan(signal.constants)
        values = np.tensordot(
            np.nan_to_num(signal.constants), projection.kernel, 1
        )
        if projection.bias is not None:
            values = values + projection.bias
        reads = (projection.kernel[varies] != 0).any(axis=0)
        return self._for_each_head(np.where(reads, np.nan, values), 0)

    def _for_each_head(self, values: NDArray[Any], axis: int) -> NDArray[Any]:
        """Repeat the values of each set for every query head in it."""
        if values.shape[axis] == len(self._heads):
            return values
        return np.repeat(values, self._repeats, axis=axis)

    def _unit_constants(self) -> Values:
        output = self._projections["output"]
        values = np.tensordot(np.nan_to_num(self._passed), output.kernel, 2)
        if output.bias is not None:
            values = values + output.bias
        return np.where(self._matters().any(axis=(0, 1)), np.nan, values)

    def _matters(self) -> Bools:
        """Which cells of the values matter to which units."""
        read: Any = self._projections["output"].kernel != 0
        matters: Bools = np.logical_and(read, np.isnan(self._passed)[..., None])
        return matters

    def _add_sums(self) -> None:
        """Note in the network which channels each unit needs."""
        units: Channels = self.units.channels
        cells: Bools = self._matters()
        heads: Bools = np.any(cells, axis=1)
        if self._conditions.returns_scores:
            # The scores count as one more unit, to which all heads matter.
            scores = self._network.new(1, 0).channels
            self._network.pin(
                scores, f"`{self._path}` returns its attention weights"
            )
            units = np.concatenate([units, scores])
            cells = np.pad(cells, ((0, 0), (0, 0), (0, 1)))
            heads = np.pad(heads, ((0, 0), (0, 1)), constant_values=True)
        scored = np.isnan(self._cells("key")) & (self._cells("query") != 0)
        flat_cells = cells.reshape(-1, len(units))
        in_sets = heads.reshape(self._sets, -1, len(units))
        needs: list[tuple[Channels, Any]] = [
            (self._head_sets, in_sets.any(axis=1)),
            (self._key_width, _any_product(scored.T, heads)),
            (self._value_width, cells.any(axis=0)),
        ]
        if self._repeats > 1:
            needs.append((self._heads, heads))
        for channels, reads in needs:
            self._add_sum(
                channels, np.full(len(channels), np.nan), units, reads
            )
        for name, signal in self._inputs.items():
            kernel = self._projections[name].kernel
            reads = self._for_each_head(kernel != 0, 1)
            if name in ("query", "key"):
                reads = _any_product((reads & scored).any(axis=2), heads)
            else:
                reads = _any_product(reads.reshape(len(reads), -1), flat_cells)
            self._add_sum(signal.channels, signal.constants, units, reads)

    def _add_sum(
        self,
        inputs: Channels,
        constants: Values,
        units: Channels,
        reads: Bools,
    ) -> None:
        self._network.sums.append(
            WeightedSum(
                self._path,
                inputs,
                units,
                reads,
                constants,
                folds=True,
                merges=False,
            )
        )


def _rescaled(query: Projection, width: int) -> Projection:
    """A smaller query projection, scaled so that the scores stay the same.

    Keras divides the scores by the square root of the width of the keys.

    Args:
        query: the smaller projection.
        width: the width of the keys in the original layer.
    """
    kernel, bias = query.kernel, query.bias
    dtype = str(kernel.dtype)
    # Keras first converts numbers to tensors of single precision.
    before, after = (
        float(ops.convert_to_numpy(ops.cast(1.0 / math.sqrt(n), dtype)))
        for n in (width, kernel.shape[-1])
    )
    factor = before / after
    return Projection(
        kernel * np.asarray(factor, dtype),
        None if bias is None else bias * factor,
    )


def _any_product(first: Bools, second: Bools) -> Bools:
    """The Boolean product of two matrices."""
    product: Bools = first.astype(np.float32) @ second.astype(np.float32) > 0
    return product
