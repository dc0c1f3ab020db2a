"""Attention layers: their multiply-adds."""

import math
from typing import Any

from keras import layers


def attention_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """Those of scores and weighted values; projections are layers inside."""
    query, value = arguments[0].shape, arguments[1].shape
    pairs = math.prod(query[1:-1]) * math.prod(value[1:-1])
    if isinstance(layer, layers.GroupQueryAttention):
        return pairs * layer.num_query_heads * 2 * layer.head_dim
    return pairs * layer.num_heads * (layer.key_dim + layer.value_dim)
