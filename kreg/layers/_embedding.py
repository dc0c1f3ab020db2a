"""Embeddings: their units and inputs, and their channels."""

from collections.abc import Sequence

import keras
import numpy as np

from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    kept_whole,
    matrix,
)
from kreg.layers.channels.network import Kept, Network
from kreg.layers.channels.weighted_sum import is_altered
from kreg.regularizers.grouping import UnitsAndInputs, along


def embedding_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int]
) -> UnitsAndInputs | None:
    if name == "embeddings":
        return along(shape, (0,)), along(shape, (1,))
    return None


def embedding_channels(call: Call, network: Network) -> Traced:
    """A table of vectors, whose columns are the units.

    A row goes only if it is known that it is never looked up.
    """
    layer = call.operation
    if is_altered(layer) or len(call.signals) != 1:
        return kept_whole(call, network)
    network.pin(call.signals[0].channels, f"`{call.path}` looks it up")
    table = matrix(layer.embeddings)
    rank = len(call.node.output_tensors[0].shape)
    units = network.new(table.shape[1], rank - 1)
    network.units[call.path] = units.channels
    low, high = table.min(axis=0), table.max(axis=0)
    constants = np.where(low == high, low, np.nan)
    unused = network.unused_rows.get(id(layer.embeddings))
    used = np.ones(len(table), bool) if unused is None else ~unused

    def reduce(kept: Kept) -> Reduction:
        values = table[used][:, kept(units.channels)]
        rows, columns = values.shape
        return Reduction(
            {"input_dim": rows, "output_dim": columns}, {"embeddings": values}
        )

    return Traced((units.with_constants(constants),), reduce)
