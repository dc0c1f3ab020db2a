"""Predictions of models on data, and metrics of those predictions."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kreg.deployment._outputs import Arrays
from kreg.surgery.sample import Structure, flat

_BATCH = 32


def batches(data: Any) -> Iterator[tuple[Structure, Any, Any]]:
    """The batches of data: inputs, targets, and sample weights or None.

    Args:
        data: a tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or of
            structures of them; a `keras.utils.PyDataset`, `tf.data.Dataset`
            or another iterable of such batches.
    """
    if isinstance(data, tuple):
        arrays = keras.tree.map_structure(_array, data)
        raw_batches: Iterable[Any] = (
            keras.tree.map_structure(functools.partial(_rows, start), arrays)
            for start in range(0, len(flat(arrays)[0]), _BATCH)
        )
    elif isinstance(data, keras.utils.PyDataset):
        raw_batches = (data[index] for index in range(data.num_batches))
    else:
        raw_batches = (
            keras.tree.map_structure(_array, batch) for batch in data
        )
    yield from map(keras.utils.unpack_x_y_sample_weight, raw_batches)


def _array(value: Any) -> Any:
    return None if value is None else keras.ops.convert_to_numpy(value)


def _rows(start: int, value: Any) -> Any:
    return None if value is None else value[start : start + _BATCH]


@dataclass(frozen=True)
class BatchPredictions:
    """The predictions of models on the same batches.

    Args:
        inputs: the inputs of the first batch.
        targets: the targets and sample weights of each batch.
        predictions: for each model, its predictions on each batch.
    """

    inputs: Structure
    targets: list[tuple[Structure, Any]]
    predictions: list[list[Structure]]


def predict_batches(
    models: Sequence[keras.Model], data: Any
) -> BatchPredictions:
    """Let each model predict on all batches of data.

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
        for model, model_predictions in zip(models, predictions, strict=True):
            model_predictions.append(model.predict_on_batch(x))
    if not targets:
        raise ValueError(
            f"`data` must hold at least one batch. Received: data={data!r}"
        )
    return BatchPredictions(inputs, targets, predictions)


def scores(
    compiled_model: keras.Model,
    targets: Iterable[tuple[Structure, Any]],
    predictions: Iterable[Structure],
) -> dict[str, float]:
    """The values of a model's metrics for predictions of any model.

    The state of the metrics is reset, as by `compiled_model.evaluate`.
    """
    metric = compiled_metrics(compiled_model)
    metric.reset_state()
    for (y, weights), predicted in zip(targets, predictions, strict=True):
        metric.update_state(y, predicted, weights)
    result = {name: float(value) for name, value in metric.result().items()}
    metric.reset_state()
    return result


def compiled_metrics(compiled_model: keras.Model) -> Any:
    """The one Keras metric that holds all metrics given to `compile`.

    Raises:
        ValueError: if the model was compiled without metrics, or not at all.
    """
    metrics = [m for m in compiled_model.metrics if m.name == "compile_metrics"]
    if not metrics:
        raise ValueError(
            "`before` must be compiled with metrics to report for `data`, as "
            "in `before.compile(..., metrics=['accuracy'])`. "
            f"Received: before={compiled_model!r}"
        )
    return metrics[0]


def concatenated(predicted: Sequence[Structure]) -> Arrays:
    """Each output, concatenated over all batches."""
    parts = zip(*map(flat, predicted), strict=True)
    return [np.concatenate(of_output) for of_output in parts]
