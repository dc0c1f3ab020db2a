"""Ties of a model: which weights a penalty on heads or channels acts on."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from kreg._keras_private import flatten_layers
from kreg.binding.ties import Tie, tie_of
from kreg.layers.heads import heads_of
from kreg.layers.weights import path_of
from kreg.regularizers import Penalty
from kreg.surgery._ties.channel_ties import ChannelTies
from kreg.surgery.owned_weights import OwnedWeight


class Tying:
    """Finds the ties of penalties in layers of a model.

    Args:
        model: the model.
        weights: its weights that can have a regularizer.
        sample: its inputs, for a model whose inputs are not known from its
            layers; else None.
    """

    def __init__(
        self,
        model: keras.Model,
        weights: Sequence[OwnedWeight],
        sample: Any = None,
    ) -> None:
        self._model, self._weights, self._sample = model, weights, sample
        self._channel_ties: dict[str, ChannelTies] = {}

    def ties(
        self, penalty: Penalty, outer: Sequence[keras.layers.Layer]
    ) -> list[Tie]:
        """The ties of a penalty in some layers.

        Args:
            penalty: a penalty that ties weights.
            outer: layers and models; each stands for all layers that it holds.

        Returns:
            One for each attention layer, or for each set of channels. A warning
            names the layers or channels that are left out.

        Raises:
            ValueError: if there are none.
        """
        inside = list(
            {id(i): i for o in outer for i in flatten_layers(o)}.values()
        )
        if penalty.ties == "heads":
            problem = "The heads of these layers are not known"
            ties, left_out = self._of_heads(penalty, inside)
        else:
            problem = "These channels must stay"
            of_channels = self._traced("channels")
            ties = of_channels.ties(penalty, inside)
            left_out = of_channels.obstacles()
        if not ties:
            raise _nothing_to_tie(penalty, outer, left_out)
        if left_out:
            warnings.warn(
                f"{problem}, so {penalty!r} is not on them: "
                f"{'; '.join(left_out)}",
                stacklevel=5,
            )
        return ties

    def _of_heads(
        self, penalty: Penalty, inside: Sequence[keras.layers.Layer]
    ) -> tuple[list[Tie], list[str]]:
        """The ties on the heads of attention layers, and those left out.

        What the attributes of a layer do not tell, a trace of the model may.
        """
        ties, unknown = [], []
        for layer in inside:
            heads = heads_of(layer)
            if not isinstance(heads, str):
                ties += [tie_of(layer, penalty, heads)] if heads else []
            elif not _holds_another(layer):
                unknown.append((layer, heads))
        tied = _tied(ties)
        others = [
            layer
            for layer in inside
            if tied.isdisjoint(map(id, layer.trainable_weights))
        ]
        hint, fixed = "", list[str]()
        if unknown or not ties or any(map(_is_custom, others)):
            try:
                of_heads = self._traced("heads")
                traced = of_heads.ties(penalty, others)
            except ValueError:  # a subclass without a sample
                if not ties and not unknown:
                    raise
                hint = "; with a `sample`, the calls of the model may show them"
            else:
                ties += [tie for tie in traced if tied.isdisjoint(_tied([tie]))]
                hint = ", and the calls of the model show no heads that can go"
                fixed = of_heads.fixed_heads
        tied = _tied(ties)
        left_out = []
        for layer, reason in unknown:
            path = path_of(layer)
            own = [text for text in fixed if f"`{path}/" in text]
            fixed = [text for text in fixed if text not in own]
            if tied.isdisjoint(map(id, layer.weights)):
                why = _must_stay(own) if own else f"{reason}{hint}"
                left_out.append(
                    f"`{path}` (of type {type(layer).__name__}): {why}"
                )
        return ties, left_out + ([_must_stay(fixed)] if fixed else [])

    def _traced(self, kind: str) -> ChannelTies:
        """The ties that a trace of the model shows."""
        if kind not in self._channel_ties:
            self._channel_ties[kind] = ChannelTies(
                self._model,
                self._weights,
                self._sample,
                of_heads=kind == "heads",
            )
        return self._channel_ties[kind]


def _tied(ties: Sequence[Tie]) -> set[int]:
    """The `id`s of the weights of ties."""
    return {id(part.variable) for tie in ties for part in tie.parts}


def _nothing_to_tie(
    penalty: Penalty,
    outer: Sequence[keras.layers.Layer],
    left_out: Sequence[str],
) -> ValueError:
    wanted = (
        "on layers that are attention layers or hold some"
        if penalty.ties == "heads"
        else "on layers that make channels which `kreg.compact` can remove"
    )
    nothing = "no channels but those of inputs and outputs of the model"
    if penalty.ties == "heads":
        is_custom = any(
            _is_custom(layer) for o in outer for layer in flatten_layers(o)
        )
        nothing = (
            "no heads of attention that the model's calls show and that can go"
            if is_custom
            else "no attention layer"
        )
    return ValueError(
        f"`rules` must put a penalty with `groups={penalty.ties!r}` {wanted}. "
        f"Received: {', '.join(path_of(layer) for layer in outer)}, with "
        f"{'; '.join(left_out) or nothing}"
    )


def _must_stay(reasons: Sequence[str]) -> str:
    return f"heads must stay, as {', and '.join(reasons)}"


def _is_custom(layer: keras.layers.Layer) -> bool:
    """Whether a layer is neither one of Keras nor one of KerasHub."""
    return type(layer).__module__.split(".")[0] not in ("keras", "keras_hub")


def _holds_another(layer: keras.layers.Layer) -> bool:
    """Whether a layer holds other attention layers, which are reported."""
    inside: list[Any] = [i for i in flatten_layers(layer) if i is not layer]
    return any(heads_of(inner) is not None for inner in inside)
