"""How long models take, measured side by side."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from rich.console import Console
from rich.progress import Progress

from kreg.deployment._sample import Structure

_WARM_UPS = 5
_SILENT_SECONDS = 2.0


@dataclass(frozen=True)
class Latency:
    """What a model takes for one batch.

    Args:
        median: in seconds.
        lower_quartile: in seconds; a quarter of the runs took less.
        upper_quartile: in seconds; a quarter took more.
    """

    median: float
    lower_quartile: float
    upper_quartile: float


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
