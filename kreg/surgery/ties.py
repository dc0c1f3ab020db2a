"""Ties of a model: which weights a penalty on whole heads acts on."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from kreg._keras_private import flatten_layers
from kreg.binding.ties import Tie, tie_of
from kreg.layers.heads import heads_of
from kreg.regularizers import Penalty
from kreg.surgery.owned_weights import path_of


def ties_in(penalty: Penalty, outer: Sequence[keras.layers.Layer]) -> list[Tie]:
    """The ties of a penalty on the heads of all attention layers in `outer`.

    Args:
        penalty: a penalty that ties weights.
        outer: layers and models; each stands for all layers that it holds.

    Returns:
        One for each attention layer. A warning names those that are left out.

    Raises:
        ValueError: if there is none.
    """
    inside = {id(i): i for layer in outer for i in flatten_layers(layer)}
    ties, unknown = [], {}
    for layer in inside.values():
        heads = heads_of(layer)
        if isinstance(heads, str):
            unknown[id(layer)] = heads
        elif heads:
            ties.append(tie_of(layer, penalty, heads))
    reasons = [
        f"`{path_of(inside[i])}` (of type {type(inside[i]).__name__}): {reason}"
        for i, reason in unknown.items()
        if not _holds_another(inside[i])
    ]
    if not ties:
        raise ValueError(
            "`rules` must put a penalty with "
            f"`groups={penalty.ties!r}` on layers that are attention layers "
            "or hold some. Received: "
            f"{', '.join(path_of(layer) for layer in outer)}, with "
            f"{'; '.join(reasons) or 'no attention layer'}"
        )
    if reasons:
        warnings.warn(
            f"The heads of these layers are not known, so {penalty!r} is not "
            f"on them: {'; '.join(reasons)}",
            stacklevel=5,
        )
    return ties


def _holds_another(layer: keras.layers.Layer) -> bool:
    """Whether a layer holds other attention layers, which are reported."""
    inside: list[Any] = [i for i in flatten_layers(layer) if i is not layer]
    return any(heads_of(inner) is not None for inner in inside)
