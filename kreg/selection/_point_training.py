"""Training a model at one strength, and telling what it came to."""

import math
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg.selection._batches import (
    Order,
    evaluation_batches,
    ordered_batches,
)
from kreg.selection._data import Arrays, TrainingData
from kreg.selection._path_point import PathPoint
from kreg.selection._random_numbers import SeededStart
from kreg.selection._selected_inputs import first_kernels, selected_inputs
from kreg.selection._stopping import Stopping
from kreg.selection._support_optimality import support_optimality
from kreg.statistics import read

_LOOK_STEPS = 32


@dataclass(frozen=True)
class Settings:
    """How a model is trained at each strength.

    Args:
        epochs: how many passes at most.
        batch_size: the rows of a batch; None for all.
        tolerance: the residual at which to stop, as a fraction of the norm of
            the first gradient; None for none.
        patience: how many looks without improvement; None for any number.
        monitor: the metric that is to improve.
        seed: decides the order of the rows.
    """

    epochs: int
    batch_size: int | None
    tolerance: float | None
    patience: int | None
    monitor: str
    seed: int


class Training:
    """Trains models on data, and evaluates them.

    Args:
        settings: how.
        data: the data.
        rows_at_once: on how many rows at least a model is evaluated at once.
    """

    def __init__(
        self, settings: Settings, data: TrainingData, rows_at_once: int
    ) -> None:
        self.settings = settings
        self._rows_at_once = rows_at_once
        self.optimality: float | None = None
        train = data.train
        self._order: Order | None = None
        self._train = self._seen = train
        if isinstance(train, Arrays):
            size = min(settings.batch_size or train.size, train.size)
            passes = max(1, _LOOK_STEPS // math.ceil(train.size / size))
            passes = min(passes, settings.epochs)
            self._order = Order(train.size, size, passes)
            self._train = ordered_batches(train, self._order)
            self._seen = self._evaluated(train)
        self._validation = self._evaluated(data.validation)

    def train(
        self, model: keras.Model, number: int, *, frozen: bool = False
    ) -> tuple[int, bool]:
        """Train at a strength; return the passes, and whether it converged.

        Args:
            model: the model.
            number: the number of the point, which decides the order.
            frozen: whether the support of the model is frozen.
        """
        settings, passes = self.settings, 1
        if self._order is not None:
            passes = self._order.passes
            _run_several_steps_at_once(model, self._order.per_epoch)
        validation = None if settings.patience is None else self._validation
        monitor = "loss" if validation is None else f"val_{settings.monitor}"
        stopping = Stopping(
            self.optimality,
            settings.patience,
            monitor,
            support_optimality if frozen else _optimality,
        )
        # A negative number is no seed.
        start = SeededStart((settings.seed, number + 1), self._order)
        model.fit(
            self._train,
            epochs=max(1, settings.epochs // passes),
            verbose=0,
            callbacks=[start, stopping],
            shuffle=False,
            validation_data=validation,
        )
        return stopping.looks * passes, stopping.converged

    def on_training_data(self, model: keras.Model) -> dict[str, float]:
        """The metrics of a model on the training data."""
        return _metrics(model, self._seen)

    def on_validation_data(self, model: keras.Model) -> dict[str, float]:
        """The metrics of a model on the validation data; empty without any."""
        if self._validation is None:
            return {}
        return _metrics(model, self._validation)

    def _evaluated(self, part: Any) -> Any:
        if not isinstance(part, Arrays):
            return part
        size = max(self.settings.batch_size or part.size, self._rows_at_once)
        return evaluation_batches(part, size)


def point_of(
    model: keras.Model,
    training: Training,
    penalized: list[keras.Variable],
    strength: float,
    strength_max: float | None,
    before: tuple[int, float],
    trained: tuple[int, bool],
) -> PathPoint:
    """What a model is after training at a strength.

    Args:
        model: the model.
        training: how it was trained.
        penalized: the weights with the penalty.
        strength: the strength.
        strength_max: above which everything is zero, if it is known.
        before: the optimizer's iterations and the clock before training.
        trained: the passes, and whether it converged.
    """
    reading = read(model)
    arrays = [np.asarray(ops.convert_to_numpy(v)) for v in penalized]
    nonzeros = sum(int(np.count_nonzero(array)) for array in arrays)
    size = sum(array.size for array in arrays)
    steps = iterations(model) - before[0]
    return PathPoint(
        strength=strength,
        fraction=None if not strength_max else strength / strength_max,
        sparsity=1.0 - nonzeros / size,
        nonzeros=nonzeros,
        dead_units=reading.dead_units,
        dead_inputs=reading.dead_inputs,
        selected_inputs=selected_inputs(first_kernels(model)),
        train=training.on_training_data(model),
        validation=training.on_validation_data(model),
        epochs=trained[0],
        steps=steps,
        optimality=reading.optimality,
        seconds=time.perf_counter() - before[1],
        converged=trained[1],
    )


def iterations(model: keras.Model) -> int:
    """The number of updates of a model's optimizer."""
    return int(ops.convert_to_numpy(model.optimizer.iterations))


def _optimality(model: keras.Model) -> float | None:
    return read(model).optimality


def _metrics(model: keras.Model, part: Any) -> dict[str, float]:
    found = model.evaluate(part, verbose=0, return_dict=True)
    return {name: float(value) for name, value in found.items()}


def _run_several_steps_at_once(model: keras.Model, batches: int) -> None:
    """Spare small models the Python of each step, if nobody chose otherwise."""
    if model.steps_per_execution != 1 or keras.backend.backend() == "torch":
        return
    if model.train_function is None:
        model.steps_per_execution = max(
            n for n in range(1, _LOOK_STEPS + 1) if batches % n == 0
        )
