"""The costs of a model: bytes, latency and multiply-adds."""

import functools
import gzip
import inspect
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.progress import Progress

from kreg._keras_private import flatten_layers, own_variables
from kreg.deployment._export import bytes_at
from kreg.deployment._shippable import shippable
from kreg.deployment.formats import can_write, write
from kreg.layers.table import multiply_adds_of
from kreg.results.result import SavedResult
from kreg.surgery.sample import Structure, examples


@dataclass(frozen=True)
class Sizes:
    """The size of a model in several forms, in bytes.

    Args:
        raw: the size of the weights in memory.
        compressed: the size of the same bytes after gzip at level 6.
        keras: the size of a `.keras` file without an optimizer; None if it
            cannot be written.
        litert: the size of a `.tflite` file; None if it cannot be written.
    """

    raw: int
    compressed: int
    keras: int | None
    litert: int | None


def sizes(model: keras.Model, sample: Structure) -> Sizes:
    """Measure the size of a model in several forms.

    Args:
        model: the model, called before. Files are written without kreg.
        sample: inputs of the model.
    """
    raw = b"".join(array.tobytes() for array in model.get_weights())
    return Sizes(
        raw=len(raw),
        compressed=len(gzip.compress(raw, 6)),
        keras=_written_bytes(model, sample, "keras", "net.keras"),
        litert=_written_bytes(model, sample, "litert", "net.tflite"),
    )


def _written_bytes(
    model: keras.Model, sample: Structure, kind: str, name: str
) -> int | None:
    if not can_write(kind):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        try:
            with shippable(model, kind, compact=False) as shipped:
                write(shipped, path, kind, sample, None, {})
        except ValueError:
            return None
        return bytes_at(path)


_WARM_UPS = 5
_SECONDS_WITHOUT_BAR = 2.0


@dataclass(frozen=True, repr=False)
class Latency(SavedResult):
    """The time that a model takes for one batch.

    Args:
        median: in seconds.
        lower_quartile: in seconds; a quarter of the runs took less.
        upper_quartile: in seconds; a quarter took more.
    """

    median: float
    lower_quartile: float
    upper_quartile: float

    def headline(self) -> dict[str, Any]:
        """The three figures, in seconds."""
        return self.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Latency":
        """The inverse of `to_dict`."""
        return cls(**values)


def latencies(
    models: Sequence[keras.Model], batch: Structure, runs: int
) -> list[Latency]:
    """Time `predict_on_batch` of each model, in turns.

    Each model first runs five times without being timed. Then each is timed
    once in every round. The order of the models is reversed after each round,
    so that other load on the machine slows all models alike. If this takes more
    than two seconds, a progress bar is shown on a terminal.
    """
    for model in models:
        for _ in range(_WARM_UPS):
            model.predict_on_batch(batch)
    seconds: list[list[float]] = [[] for _ in models]
    order = list(range(len(models)))
    console = Console(stderr=True)
    progress = Progress(
        console=console, transient=True, disable=not console.is_terminal
    )
    task = progress.add_task("latency", total=runs)
    start = time.perf_counter()
    try:
        for done in range(runs):
            for index in order:
                seconds[index].append(_seconds(models[index], batch))
            order.reverse()
            progress.update(task, completed=done + 1)
            if time.perf_counter() - start > _SECONDS_WITHOUT_BAR:
                progress.start()
    finally:
        progress.stop()
    return [_latency(times) for times in seconds]


def _seconds(model: keras.Model, batch: Structure) -> float:
    start = time.perf_counter()
    model.predict_on_batch(batch)
    return time.perf_counter() - start


def _latency(seconds: list[float]) -> Latency:
    lower, median, upper = np.percentile(seconds, [25, 50, 75])
    return Latency(float(median), float(lower), float(upper))


@dataclass
class MultiplyAdds:
    """The multiply-adds of a model for one example.

    Args:
        by_layer: the number for each layer, by its path, if it is not 0.
        uncounted: the paths of layers whose number is unknown: they have
            matrices but are not in the table of layers.
    """

    by_layer: dict[str, int] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The multiply-adds of all layers together."""
        return sum(self.by_layer.values())


def multiply_adds(model: keras.Model, sample: Structure) -> MultiplyAdds:
    """Count the multiply-adds of products with weights, for one example.

    These are the products in Dense, EinsumDense, convolutions and recurrent
    layers, at every position and in every time step, and both products of
    attention layers that have weights. Biases, activations, normalization,
    pooling and lookups are not counted. Zeros in a kernel count like any other
    number, and a layer that is called twice counts twice.

    The model is run on one example. Each call of a layer is counted from the
    shapes of its inputs and outputs.
    """
    counts = MultiplyAdds()
    with ExitStack() as stack:
        recurrent = _RecurrentDepth()
        for layer in flatten_layers(model):
            for method in ("call", "quantized_call"):
                stack.enter_context(
                    _calls_counted(layer, method, counts, recurrent)
                )
        model(examples(sample, 1), training=False)
    return counts


@dataclass
class _RecurrentDepth:
    """The number of running recurrent layers; their cells are not counted."""

    depth: int = 0


@contextmanager
def _calls_counted(
    layer: keras.layers.Layer,
    method: str,
    counts: MultiplyAdds,
    recurrent: _RecurrentDepth,
) -> Iterator[None]:
    """Count the calls of a method by replacing it on the layer object.

    Args:
        layer: the layer.
        method: `"call"`, or `"quantized_call"`, which Keras calls once the
            layer is quantized.
        counts: the counts to add to.
        recurrent: the recurrent layers that are running.
    """
    call = getattr(layer, method)
    counting_call = _counting_call(layer, call, counts, recurrent)
    replaced = vars(layer).get(method)
    vars(layer)[method] = counting_call
    try:
        yield
    finally:
        del vars(layer)[method]
        if replaced is not None:
            vars(layer)[method] = replaced


def _counting_call(
    layer: keras.layers.Layer,
    call: Callable[..., Any],
    counts: MultiplyAdds,
    recurrent: _RecurrentDepth,
) -> Callable[..., Any]:
    signature = inspect.signature(layer.call)

    @functools.wraps(call)
    def counting(*args: Any, **kwargs: Any) -> Any:
        is_recurrent = isinstance(layer, layers.RNN)
        recurrent.depth += is_recurrent
        try:
            outputs = call(*args, **kwargs)
        finally:
            recurrent.depth -= is_recurrent
        if recurrent.depth:
            return outputs
        count = multiply_adds_of(layer)
        if count is None:
            if _has_matrices(layer) and layer.path not in counts.uncounted:
                counts.uncounted.append(layer.path)
            return outputs
        bound = signature.bind(*args, **kwargs)
        output = keras.tree.flatten(outputs)[0]
        layer_multiply_adds = count(
            layer, list(bound.arguments.values()), tuple(output.shape)
        )
        if layer_multiply_adds:
            before = counts.by_layer.get(layer.path, 0)
            counts.by_layer[layer.path] = before + layer_multiply_adds
        return outputs

    return counting


def _has_matrices(layer: keras.layers.Layer) -> bool:
    return any(sum(n > 1 for n in v.shape) > 1 for v in own_variables(layer))
