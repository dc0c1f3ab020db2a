"""What a model costs: bytes, time and multiply-adds."""

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
from kreg.deployment._sample import Structure, examples
from kreg.deployment.formats import can_write, write
from kreg.layers.table import multiply_adds_of
from kreg.results.result import SavedResult


@dataclass(frozen=True)
class Sizes:
    """Bytes.

    Args:
        raw: of the weights as they are in memory.
        compressed: of the same, one after the other, through gzip at level 6.
        keras: of a `.keras` file without an optimizer, None if the model
            cannot be saved so.
        litert: of a `.tflite` file, None if there is none.
    """

    raw: int
    compressed: int
    keras: int | None
    litert: int | None


def sizes(
    model: keras.Model, shipped: keras.Model | None, sample: Structure
) -> Sizes:
    """Measure a model.

    Args:
        model: the model.
        shipped: the same, uncompiled and without kreg, which is written; None
            if there is none.
        sample: inputs of the model.
    """
    raw = b"".join(array.tobytes() for array in model.get_weights())
    return Sizes(
        raw=len(raw),
        compressed=len(gzip.compress(raw, 6)),
        keras=_written_bytes(shipped, sample, "keras", "net.keras"),
        litert=_written_bytes(shipped, sample, "litert", "net.tflite"),
    )


def _written_bytes(
    model: keras.Model | None, sample: Structure, kind: str, name: str
) -> int | None:
    if model is None or not can_write(kind):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        try:
            write(model, path, kind, sample, None, {})
        except ValueError:
            return None
        return bytes_at(path)


_WARM_UPS = 5
_SILENT_SECONDS = 2.0


@dataclass(frozen=True, repr=False)
class Latency(SavedResult):
    """What a model takes for one batch.

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
        """The latency that `to_dict` made `values` of."""
        return cls(**values)


def latencies(
    models: Sequence[keras.Model], batch: Structure, runs: int
) -> list[Latency]:
    """Time `predict_on_batch` of each model, in turns.

    Each model first runs five times untimed. Then each is timed once in every
    round, and the order is reversed from round to round, so that what else the
    machine does falls on all alike. A bar shows the progress on a terminal if
    it takes more than two seconds.
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
            if time.perf_counter() - start > _SILENT_SECONDS:
                progress.start()
    finally:
        progress.stop()
    return [_figures(taken) for taken in seconds]


def _seconds(model: keras.Model, batch: Structure) -> float:
    start = time.perf_counter()
    model.predict_on_batch(batch)
    return time.perf_counter() - start


def _figures(seconds: list[float]) -> Latency:
    lower, median, upper = np.percentile(seconds, [25, 50, 75])
    return Latency(float(median), float(lower), float(upper))


@dataclass
class MultiplyAdds:
    """Multiply-adds for one example.

    Args:
        by_layer: the number of each layer that has any, by its path.
        uncounted: the paths of layers that hold matrices and are not in the
            table of layers, so that their number is not known.
    """

    by_layer: dict[str, int] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Of all layers together."""
        return sum(self.by_layer.values())


def multiply_adds(model: keras.Model, sample: Structure) -> MultiplyAdds:
    """Count the multiply-adds of products with weights, for one example.

    These are the products of Dense, EinsumDense, convolutions and recurrent
    layers, at every position and in every time step, and both products of
    attention layers that have weights. Biases, activations, normalization,
    pooling and lookups count nothing, and zeros in a kernel count like any
    other number. A layer that is called twice counts twice.

    The model is run on one example, and each call counted by the shapes of its
    inputs and outputs.
    """
    counts = MultiplyAdds()
    with ExitStack() as stack:
        inside = _Inside()
        for layer in flatten_layers(model):
            stack.enter_context(_watched(layer, counts, inside))
        model(examples(sample, 1), training=False)
    return counts


@dataclass
class _Inside:
    """How many recurrent layers are running, whose cells do not count."""

    depth: int = 0


@contextmanager
def _watched(
    layer: keras.layers.Layer, counts: MultiplyAdds, inside: _Inside
) -> Iterator[None]:
    """Count the calls of `layer`: an attribute of it hides its `call`."""
    call = layer.call
    watched = _counting(layer, call, counts, inside)
    replaced = vars(layer).get("call")
    vars(layer)["call"] = watched
    try:
        yield
    finally:
        del vars(layer)["call"]
        if replaced is not None:
            vars(layer)["call"] = replaced


def _counting(
    layer: keras.layers.Layer,
    call: Callable[..., Any],
    counts: MultiplyAdds,
    inside: _Inside,
) -> Callable[..., Any]:
    @functools.wraps(call)
    def counting(*args: Any, **kwargs: Any) -> Any:
        whole = isinstance(layer, layers.RNN)
        inside.depth += whole
        try:
            outputs = call(*args, **kwargs)
        finally:
            inside.depth -= whole
        if inside.depth:
            return outputs
        count = multiply_adds_of(layer)
        if count is None:
            if _has_matrices(layer) and layer.path not in counts.uncounted:
                counts.uncounted.append(layer.path)
            return outputs
        bound = inspect.signature(call).bind(*args, **kwargs)
        output = keras.tree.flatten(outputs)[0]
        products = count(
            layer, list(bound.arguments.values()), tuple(output.shape)
        )
        if products:
            before = counts.by_layer.get(layer.path, 0)
            counts.by_layer[layer.path] = before + products
        return outputs

    return counting


def _has_matrices(layer: keras.layers.Layer) -> bool:
    return any(sum(n > 1 for n in v.shape) > 1 for v in own_variables(layer))
