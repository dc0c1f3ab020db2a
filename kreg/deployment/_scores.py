"""Predictions on data, and the metrics that they score."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kreg.deployment._outputs import Arrays
from kreg.deployment._sample import Structure, flat

_BATCH = 32


def batches(data: Any) -> Iterator[tuple[Structure, Any, Any]]:
    """Triples of inputs, targets and sample weights, the last often None.

    Args:
        data: a tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or of
            structures of them; a `keras.utils.PyDataset`, `tf.data.Dataset`
            or another iterable of such batches.
    """
    if isinstance(data, tuple):
        arrays = keras.tree.map_structure(_array, data)
        found: Iterable[Any] = (
            keras.tree.map_structure(functools.partial(_rows, start), arrays)
            for start in range(0, len(flat(arrays)[0]), _BATCH)
        )
    elif isinstance(data, keras.utils.PyDataset):
        found = (data[index] for index in range(data.num_batches))
    else:
        found = (keras.tree.map_structure(_array, batch) for batch in data)
    yield from map(keras.utils.unpack_x_y_sample_weight, found)


def _array(value: Any) -> Any:
    return None if value is None else keras.ops.convert_to_numpy(value)


def _rows(start: int, value: Any) -> Any:
    return None if value is None else value[start : start + _BATCH]


@dataclass(frozen=True)
class Judged:
    """One pass of models over data.

    Args:
        inputs: the inputs of the first batch.
        targets: pairs of targets and sample weights, one a batch.
        predictions: for each model its predictions, one a batch.
    """

    inputs: Structure
    targets: list[tuple[Structure, Any]]
    predictions: list[list[Structure]]


def judged(models: Sequence[keras.Model], data: Any) -> Judged:
    """Let each model predict on data.

    Raises:
        ValueError: if the data hold no batch, or no targets.
    """
    targets = []
    predictions: list[list[Structure]] = [[] for _ in models]
    inputs = None
    for x, y, weights in batches(data):
        if y is None:
            raise ValueError(
                "`data` must hold inputs and targets, as `(x, y)`. "
                "Received: data without targets"
            )
        inputs = x if inputs is None else inputs
        targets.append((y, weights))
        for model, of_model in zip(models, predictions, strict=True):
            of_model.append(model.predict_on_batch(x))
    if not targets:
        raise ValueError(
            f"`data` must hold at least one batch. Received: data={data!r}"
        )
    return Judged(inputs, targets, predictions)


def scores(
    judge: keras.Model,
    targets: Iterable[tuple[Structure, Any]],
    predictions: Iterable[Structure],
) -> dict[str, float]:
    """The metrics that `judge` is compiled with, of any model's predictions.

    Their state is reset, as `judge.evaluate` does it.
    """
    metric = compiled_metrics(judge)
    metric.reset_state()
    for (y, weights), predicted in zip(targets, predictions, strict=True):
        metric.update_state(y, predicted, weights)
    result = {name: float(value) for name, value in metric.result().items()}
    metric.reset_state()
    return result


def compiled_metrics(judge: keras.Model) -> Any:
    """All metrics of `compile` as one, which knows targets and outputs.

    Raises:
        ValueError: if the model was compiled without metrics, or not at all.
    """
    found = [m for m in judge.metrics if m.name == "compile_metrics"]
    if not found:
        raise ValueError(
            "`before` must be compiled with the metrics to tell of `data`, as "
            "in `before.compile(..., metrics=['accuracy'])`. "
            f"Received: before={judge!r}"
        )
    return found[0]


def joined(predicted: Sequence[Structure]) -> Arrays:
    """Each output over all batches."""
    parts = zip(*map(flat, predicted), strict=True)
    return [np.concatenate(of_output) for of_output in parts]
