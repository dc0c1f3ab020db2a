"""`kreg.deployment.deploy_report`: measures one model, or compares two."""

from typing import Any

import keras
import numpy as np

from kreg._arguments import built_model, positive_integer
from kreg.deployment._costs import Latency, latencies, multiply_adds, sizes
from kreg.deployment._report import DeployReport, ModelFigures
from kreg.deployment._scores import (
    compiled_metrics,
    concatenated,
    predict_batches,
    scores,
)
from kreg.statistics.quantized import unpacked_weights
from kreg.surgery.outputs import largest_difference, model_outputs
from kreg.surgery.sample import (
    Structure,
    checked_sample,
    examples,
    random_sample,
)
from kreg.tensorflow_messages import without_retracing_alarm


@without_retracing_alarm()
def deploy_report(
    before: keras.Model,
    after: keras.Model | None = None,
    data: Any = None,
    *,
    sample: Structure | None = None,
    batch_size: int = 1,
    runs: int = 50,
) -> DeployReport:
    """Measure what a model costs, or two models side by side.

    The report has the number of parameters and of nonzero ones, operations,
    bytes in several forms, latency, the largest difference of the outputs and,
    with `data`, the metrics that `before` is compiled with. Use it to see what
    `kreg.compact` has saved, on the machine that will run the model.

    Operations are twice the multiply-adds of products with weights, for one
    example, at the sizes of the sample: Dense, EinsumDense, convolutions,
    recurrent layers in every time step, and attention. Biases, activations,
    normalization and pooling are not counted. Zeros count in full, because a
    dense kernel multiplies by them, too.

    Latency is the time of `predict_on_batch` as the backend compiles it, with
    the backend's own threads, including the copies from and to NumPy. The
    models take turns, after five runs that are not timed. The metrics are those
    of `before`, updated with the predictions of each model in turn; their state
    is reset.

    Args:
        before: a built `keras.Model`, compiled with metrics if there is
            `data`.
        after: a model with the same inputs and outputs, such as
            `kreg.compact(before)`. Defaults to `None`: one model is measured.
        data: arrays `(x, y)` or `(x, y, sample_weight)`, or an iterable of such
            batches: a `tf.data.Dataset`, a `keras.utils.PyDataset` or another
            finite iterable. Defaults to `None`: no metrics.
        sample: examples for latency, operations and, without `data`, the
            difference of outputs. Defaults to `None`: the first batch of
            `data`, or random examples as in `kreg.export`.
        batch_size: int >= 1, the number of examples for the latency. Defaults
            to `1`.
        runs: int >= 1, the number of timed runs of each model. Defaults to
            `50`.

    Returns:
        A frozen `DeployReport`.

    Raises:
        TypeError: if a model is not a `keras.Model`, or `batch_size` or `runs`
            is not an integer.
        ValueError: if a model is not built, there is `data` but `before` is not
            compiled with metrics, the sample does not fit, or the outputs of
            the models differ in shape.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4),
    ...     keras.layers.Dense(2)])
    >>> report = kreg.deployment.deploy_report(model, runs=3)
    >>> report.before.parameters, report.before.flops, report.before.raw_bytes
    (26, 40, 104)
    >>> report.largest_difference is None
    True
    >>> smaller = keras.Sequential(
    ...     [keras.Input((3,)), keras.layers.Dense(2)])
    >>> both = kreg.deployment.deploy_report(model, smaller, runs=3)
    >>> for row in both.to_markdown().splitlines()[2:5]:
    ...     name, first, second, ratio = row.strip("| ").split("|")
    ...     print(name.strip(), first.strip(), second.strip(), ratio.strip())
    parameters 26 8 0.308
    non-zeros 20 6 0.3
    FLOPs 40 12 0.3
    """
    built_model(before, "before")
    models = [before]
    if after is not None:
        built_model(after, "after")
        models.append(after)
    batch_size = positive_integer("batch_size", batch_size)
    runs = positive_integer("runs", runs)
    metrics: list[dict[str, float]] = [{} for _ in models]
    if data is not None:
        compiled_metrics(before)
        result = predict_batches(models, data)
        outputs = [
            concatenated(model_predictions)
            for model_predictions in result.predictions
        ]
        metrics = [
            scores(before, result.targets, model_predictions)
            for model_predictions in result.predictions
        ]
        sample = result.inputs if sample is None else sample
    if sample is None:
        sample = random_sample(before, batch_size)
    sample = checked_sample(before, sample)
    if data is None:
        outputs = [model_outputs(model, sample) for model in models]
    shapes = [[array.shape for array in arrays] for arrays in outputs]
    if shapes[0] != shapes[-1]:
        raise ValueError(
            "`after` must have the outputs of `before`. Received: outputs of "
            f"shapes {shapes[-1]} where `before` gives {shapes[0]}"
        )
    model_latencies = latencies(models, examples(sample, batch_size), runs)
    figures = [
        _figures(model, sample, latency, model_metrics)
        for model, latency, model_metrics in zip(
            models, model_latencies, metrics, strict=True
        )
    ]
    both = len(models) == 2
    return DeployReport(
        before=figures[0],
        after=figures[1] if both else None,
        largest_difference=largest_difference(*outputs) if both else None,
        batch_size=batch_size,
        runs=runs,
    )


def _figures(
    model: keras.Model,
    sample: Structure,
    latency: Latency,
    metrics: dict[str, float],
) -> ModelFigures:
    counts = multiply_adds(model, sample)
    weights = unpacked_weights(model)
    bytes_of = sizes(model, sample)
    return ModelFigures(
        name=model.name,
        parameters=sum(w.size for w in weights),
        nonzeros=sum(int(np.count_nonzero(w)) for w in weights),
        flops=2 * counts.total,
        uncounted=tuple(counts.uncounted),
        raw_bytes=bytes_of.raw,
        gzip_bytes=bytes_of.compressed,
        keras_bytes=bytes_of.keras,
        litert_bytes=bytes_of.litert,
        latency=latency,
        metrics=metrics,
    )
