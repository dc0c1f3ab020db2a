"""Making the record of a compaction: a row for each layer, and notes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from kreg._keras_private import (
    flatten_layers,
    is_composite,
    own_layers,
    own_variables,
    trains_as_it_predicts,
)
from kreg.layers.channels.call import matrix
from kreg.layers.channels.network import Kept
from kreg.layers.weights import layout_of
from kreg.surgery._compact.compaction import LayerCompaction
from kreg.surgery._compact.new_values import NewValues
from kreg.surgery._compact.smaller_layers import Way
from kreg.surgery._compact.walk import Walk

# The attributes of attention layers that hold the number of heads.
_HEADS = ("num_heads", "num_query_heads")


@dataclass(frozen=True)
class Report:
    """What became of each layer of a model.

    Args:
        walked: the walk through the model.
        kept: the channels that stay.
        values: the new values of its weights.
        ways: the ways of layers into the smaller model, by their `id`.
        opaque: why layers stay whole, by their `id`.
    """

    walked: Walk
    kept: Kept
    values: NewValues
    ways: Mapping[int, Way]
    opaque: Mapping[int, str]

    def rows(self, model: keras.Model) -> Iterator[LayerCompaction]:
        """A row for each layer with weights; each weight counts in one row."""
        counted: set[int] = set()
        top = self.ways.get(id(model), Way.UNCHANGED)
        why_whole = self._why_whole(model, "")
        yield from self._rows(model, "", top, why_whole, counted)

    def notes(self) -> Iterator[str]:
        """Notes on the layers that were expanded into the layers inside."""
        seen: set[int] = set()
        for call in self.walked.graph.graph.composites:
            layer = call.operation
            if (
                self.ways.get(id(layer)) is not Way.EXPANDED
                or id(layer) in seen
            ):
                continue
            seen.add(id(layer))
            name = f"`{layer.name}` ({type(layer).__name__})"
            yield f"The layers inside {name} are in its place."
            if not trains_as_it_predicts(call):
                yield (
                    f"What the code of {name} does in training alone is not "
                    "in the smaller model."
                )

    def _rows(
        self,
        layer: keras.layers.Layer,
        path: str,
        way: Way,
        why_whole: str,
        counted: set[int],
    ) -> Iterator[LayerCompaction]:
        is_whole = _is_one_row(layer)
        variables = layer.weights if is_whole else own_variables(layer)
        saved = {id(v) for v in layer.weights}
        new = [v for v in variables if id(v) in saved and id(v) not in counted]
        counted |= set(map(id, new))
        if new:
            yield self._row(layer, path or layer.name, new, way, why_whole)
        why_whole = why_whole or self._reason(layer, path, "")
        for part in () if is_whole else own_layers(layer):
            yield from self._rows(
                part,
                f"{path}/{part.name}".lstrip("/"),
                self.ways.get(id(part), way),
                self._why_whole(part, why_whole),
                counted,
            )

    def _why_whole(self, layer: keras.layers.Layer, outside: str) -> str:
        """Why a layer stays whole; `outside` is the reason around it."""
        return self.opaque.get(id(layer)) or self.walked.not_followed.get(
            id(layer), outside
        )

    def _row(
        self,
        layer: Any,
        path: str,
        variables: list[keras.Variable],
        way: Way,
        why_whole: str,
    ) -> LayerCompaction:
        before = sum(int(np.prod(v.shape)) for v in variables)
        after = sum(int(np.prod(self.values.shape(v))) for v in variables)
        after += self.values.added.get(id(layer), 0)
        units, units_after, kept = self._units(layer, path)
        if way is Way.LEFT_OUT:
            after, units_after, kept = 0, 0, {}
        reduction = self.values.reductions.get(id(layer))
        config = {} if reduction is None else reduction.config
        heads_name = next(filter(partial(hasattr, layer), _HEADS), "")
        heads = getattr(layer, heads_name, 0)
        groups = getattr(layer, "groups", 0) or 0
        if groups < 2 or not hasattr(layer, "kernel_size"):
            groups = 0
        changes = self.values.change(layer) or way is Way.LEFT_OUT
        return LayerCompaction(
            path,
            type(layer).__name__,
            units,
            units_after,
            before,
            after,
            kept,
            heads,
            int(config.get(heads_name, heads)),
            groups,
            int(config.get("groups", groups)),
            str(way if changes else Way.UNCHANGED),
            "" if changes else self._reason(layer, path, why_whole),
        )

    def _units(
        self, layer: keras.layers.Layer, path: str
    ) -> tuple[int, int, dict[str, int]]:
        """The units before and after, and the constant ones that stay."""
        traced = self.walked.layers.get(id(layer))
        if traced is None:
            count = _units_of(layer)
            return count, count, self._constants_of_own_weights(layer)
        signal = traced.outputs[0]
        # Of channels along several axes, the places on the last axis count.
        channels = self.walked.network.places(signal.channels)[-1]
        stays = self.kept(channels)
        if signal.channels.ndim > 1:
            return len(stays), int(stays.sum()), {}
        constant = signal.channels[~np.isnan(signal.constants) & stays]
        has_units = path in self.walked.network.units
        reasons = map(self.kept.reason, constant.tolist() if has_units else ())
        return len(stays), int(stays.sum()), dict(Counter(reasons))

    def _constants_of_own_weights(
        self, layer: keras.layers.Layer
    ) -> dict[str, int]:
        """How many constant columns of a layer's own weights stay, and why."""
        reasons: Counter[str] = Counter()
        for variable in own_variables(layer):
            _, axes = self.walked.network.variables.get(
                id(variable), (None, [None])
            )
            channels = axes[-1] if len(axes) > 1 else None
            if channels is None:
                continue
            value = matrix(variable).reshape(-1, len(channels))
            stays = (value == value[0]).all(axis=0) & self.kept(channels)
            reasons.update(map(self.kept.reason, channels[stays].tolist()))
        return dict(reasons)

    def _reason(
        self, layer: keras.layers.Layer, path: str, why_whole: str
    ) -> str:
        """Why a layer could not become smaller; empty if it could have."""
        if why_whole:
            return why_whole
        traced = self.walked.layers.get(id(layer))
        if traced is None:
            return ""
        channels = traced.outputs[0].channels.ravel().tolist()
        reasons = [
            reason if reason.startswith(f"`{path}`") else ""
            for reason in map(self.kept.reason, channels)
        ]
        if traced.reduce is not None and len(set(reasons)) > 1:
            return ""  # units of it can go
        return next(filter(None, reasons), "")


def _units_of(layer: keras.layers.Layer) -> int:
    """The most units that a weight of a layer has."""
    layouts = (layout_of(layer, v).units for v in own_variables(layer))
    return max((units.count for units in layouts if units), default=0)


def _is_one_row(layer: keras.layers.Layer) -> bool:
    """Whether one row tells of a layer of Keras and of all layers inside."""
    parts = flatten_layers(layer)
    return (
        type(layer).__module__.startswith("keras.")
        and len(parts) > 1
        and not is_composite(layer)
        and not any(isinstance(part, keras.Model) for part in parts)
    )
