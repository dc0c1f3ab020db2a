"""Reading one model again and again."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg.regularizers import Penalty
from kreg.statistics._keras_strengths import keras_strengths
from kreg.statistics._pass import Figures, WeightsPass
from kreg.statistics._paths import distinct_paths
from kreg.statistics._penalties import weight_penalty
from kreg.statistics._reading import (
    LayerReading,
    Reading,
    WeightReading,
    ratio,
)
from kreg.statistics._rows import Row, rows_of
from kreg.statistics._weights_before import WeightsBefore


class Reader:
    """Keeps the pass over a model's weights, as long as it stays the same.

    Args:
        threshold: the largest size that counts as near zero.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._signature: Any = None
        self._pass: WeightsPass | None = None
        self._before: WeightsBefore | None = None
        self.has_read = False

    def weights_before(self, model: keras.Model) -> WeightsBefore:
        """What readings of `model` compare its weights with from now on."""
        weights = [row.variable for row in rows_of(model)]
        if self._before is None or not self._before.are_of(weights):
            self._before = WeightsBefore(weights)
        return self._before

    def __call__(
        self,
        model: keras.Model,
        *,
        compiled: bool,
        data_loss: float | None = None,
    ) -> Reading:
        """Read the weights of `model`.

        Args:
            model: a built model.
            compiled: whether to compile the pass over the weights.
            data_loss: the loss without penalties, if it is known.
        """
        rows = list(rows_of(model))
        before = self._before
        if before and not before.are_of([row.variable for row in rows]):
            before = None
        moved = before is not None and before.is_fresh
        if before is not None:
            before.is_fresh = False
        copies = () if before is None else before.copies
        optimizer = getattr(model, "optimizer", None)
        signature = [_signature(row) for row in rows]
        signature += [id(optimizer), optimizer is not None and optimizer.built]
        signature += [id(copy) for copy in copies]
        if self._pass is None or signature != self._signature:
            self._signature = signature
            self._pass = WeightsPass(rows, optimizer, self._threshold, copies)
        step = 0
        if optimizer is not None:
            step = int(ops.convert_to_numpy(optimizer.iterations))
        self.has_read = True
        if not rows:
            return Reading(step, data_loss, (), ())
        figures = self._pass(step, repeated=compiled)
        return _reading(rows, figures, step, data_loss, moved)


def _signature(row: Row) -> Any:
    trainable = bool(row.variable.trainable)
    return id(row.variable), id(row.regularizer), trainable, row.suspended


def _reading(
    rows: Sequence[Row],
    figures: Figures,
    step: int,
    data_loss: float | None,
    moved: bool,
) -> Reading:
    penalties = [
        _penalty(row, floats, step)
        for row, floats in zip(rows, figures.floats.tolist(), strict=True)
    ]
    loss = None if data_loss is None else data_loss + math.fsum(penalties)
    paths = distinct_paths(row.variable for row in rows)
    weights = tuple(
        _weight(row, paths[i], figures, i, moved, penalties[i], loss)
        for i, row in enumerate(rows)
    )
    layers: dict[int, list[WeightReading]] = {}
    for row, weight in zip(rows, weights, strict=True):
        layers.setdefault(row.layer, []).append(weight)
    return Reading(
        step,
        data_loss,
        weights,
        tuple(
            LayerReading(
                own[0].layer, tuple(own), figures.dead_units.get(layer, 0)
            )
            for layer, own in layers.items()
        ),
    )


def _weight(
    row: Row,
    path: str,
    figures: Figures,
    i: int,
    moved: bool,
    penalty: float,
    loss: float | None,
) -> WeightReading:
    _, l1_norm, squares, largest, move, gradient, residual = figures.floats[
        i
    ].tolist()
    zeros, near_zeros, dead_inputs, dead_units = figures.counts[i].tolist()
    layer, _, weight = path.rpartition("/")
    l2_norm = math.sqrt(squares)
    known = figures.gradients[i]
    return WeightReading(
        path=path,
        layer=layer,
        weight=weight,
        shape=row.shape,
        size=row.size,
        trainable=bool(row.variable.trainable),
        regularizer=_name(row.regularizer),
        strengths=figures.strengths[i] or _named_in_config(row.regularizer),
        penalty=penalty,
        penalty_share=None if loss is None else ratio(penalty, loss),
        l1_norm=l1_norm,
        l2_norm=l2_norm,
        max_norm=largest,
        zeros=zeros,
        near_zeros=near_zeros,
        units=row.units.count if row.units else None,
        dead_units=dead_units if row.units else None,
        inputs=row.inputs.count if row.inputs else None,
        dead_inputs=dead_inputs if row.inputs else None,
        update_ratio=ratio(math.sqrt(move), l2_norm) if moved else None,
        gradient_norm=math.sqrt(gradient) if known == "data" else None,
        optimality=math.sqrt(residual) if known else None,
    )


def _penalty(row: Row, floats: Sequence[float], step: int) -> float:
    """From the pass where that can tell, else from the regularizer itself."""
    if not row.is_penalized:
        return 0.0
    penalty, l1_norm, squares, *_ = floats
    regularizer = row.regularizer
    if isinstance(regularizer, Penalty):
        return penalty
    norms = keras_strengths(regularizer)
    if norms:
        return norms.get("l1", 0.0) * l1_norm + norms.get("l2", 0.0) * squares
    value = weight_penalty(row.variable, row.layout, step)
    return float(np.sum(ops.convert_to_numpy(value)))


def _named_in_config(regularizer: Any) -> dict[str, float]:
    """The numbers in the config of a regularizer that is not kreg's."""
    if not isinstance(regularizer, keras.regularizers.Regularizer):
        return {}
    try:
        config = regularizer.get_config()
    except Exception:  # of a class that is not ours
        return {}
    return {
        name: value for name, value in config.items() if type(value) is float
    }


def _name(regularizer: Any) -> str | None:
    if regularizer is None:
        return None
    return getattr(regularizer, "__name__", type(regularizer).__name__)
