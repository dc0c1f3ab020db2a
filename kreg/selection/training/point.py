"""`Trainer` and `PathPoint`: training at one strength, and its figures."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kreg.optimizers.gradient_memory import (
    gradient_memory,
    gradient_scales,
    unclipped,
)
from kreg.results.result import SavedResult
from kreg.selection.data.batches import evaluation_batches, ordered_batches
from kreg.selection.data.order import Order, SeededStart
from kreg.selection.data.rows import Arrays, TrainingData
from kreg.selection.training.inputs import first_kernels, selected_inputs
from kreg.selection.training.stopping import Stopping
from kreg.selection.training.training import Training
from kreg.statistics import read
from kreg.statistics.rows import rows_of
from kreg.surgery.support import KeepSupport


@dataclass(frozen=True, repr=False)
class PathPoint(SavedResult):
    """The result of training at one strength.

    Args:
        strength: the strength.
        fraction: the strength as a fraction of the strength above which
            everything is zero; None if the latter was not computed.
        sparsity: the fraction of the penalized weights that are exactly 0.0.
        nonzeros: the number of penalized weights that are not 0.0.
        dead_units: the number of dead output channels in the model.
        dead_inputs: the number of input channels that no weight reads.
        selected_inputs: the indices of the input features that are read; None
            if the model does not have a single flat input that dense layers
            read.
        train: each metric on the training data by its name, including
            `"data_loss"`.
        validation: each metric on the validation data; empty without them.
        epochs: the number of passes over the training data.
        steps: the number of updates.
        optimality: the optimality residual at the end, as in
            `kreg.statistics.read`: how far the weights are from a minimum of
            the data loss plus the penalty. None if the optimizer keeps no
            average of gradients.
        seconds: the training time.
        converged: whether `tolerance` or `patience` ended the training; with a
            refit, whether this is true for both trainings.
    """

    strength: float
    fraction: float | None
    sparsity: float
    nonzeros: int
    dead_units: int
    dead_inputs: int
    selected_inputs: tuple[int, ...] | None
    train: Mapping[str, float]
    validation: Mapping[str, float]
    epochs: int
    steps: int
    optimality: float | None
    seconds: float
    converged: bool

    def headline(self) -> dict[str, Any]:
        """The strength, the zeros and the data losses."""
        figures: dict[str, Any] = {
            "strength": self.strength,
            "sparsity": self.sparsity,
        }
        for part in ("train", "validation"):
            metrics = getattr(self, part)
            if "data_loss" in metrics:
                figures[f"{part}_data_loss"] = metrics["data_loss"]
        return {**figures, "converged": self.converged}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PathPoint":
        """The inverse of `to_dict`."""
        selected = values["selected_inputs"]
        if selected is not None:
            selected = tuple(int(index) for index in selected)
        return cls(**{**values, "selected_inputs": selected})


def support_optimality(model: keras.Model) -> float | None:
    """The optimality residual, without weights that are frozen at zero.

    Args:
        model: a compiled model.

    Returns:
        The residual; None if the optimizer keeps no average of gradients.
    """
    total = 0.0
    for row, weight in zip(rows_of(model), read(model).weights, strict=True):
        if not row.variable.trainable:
            continue
        if weight.optimality is None:
            return None
        size = weight.optimality
        if isinstance(row.variable.constraint, KeepSupport):
            size = _gradient_norm(model, row.variable)
        total += size**2
    return math.sqrt(total)


def _gradient_norm(model: keras.Model, variable: keras.Variable) -> float:
    """The norm of the remembered gradient on the support of a weight."""
    memory = gradient_memory(model.optimizer, variable)
    (scale,) = gradient_scales([memory])
    if memory is None or scale is None:
        return math.inf
    gradient = unclipped(*map(ops.convert_to_tensor, memory.variables))
    kept = variable.constraint.kept(gradient)
    return float(np.linalg.norm(scale * ops.convert_to_numpy(kept)))


# The approximate number of updates between checks whether to stop.
_LOOK_STEPS = 32


@dataclass(frozen=True)
class Portion:
    """The passes over the training data in one call of `fit`.

    Args:
        data: the batches of an epoch of `fit`.
        epochs: the epochs of `fit`; each ends with a check whether to stop.
        order: the order of the rows in an epoch; None for an iterable of
            batches.
    """

    data: Any
    epochs: int
    order: Order | None = None

    @property
    def passes(self) -> int:
        """The passes over the training data in an epoch of `fit`."""
        return 1 if self.order is None else self.order.passes


def _portions(train: Arrays, training: Training) -> list[Portion]:
    """All passes: epochs of several passes each, then the remaining passes."""
    size = min(training.batch_size or train.size, train.size)
    passes = max(1, _LOOK_STEPS // math.ceil(train.size / size))
    whole, rest = divmod(training.epochs, passes)
    portions = []
    for several, epochs in ((passes, whole), (rest, 1)):
        if several and epochs:
            order = Order(train.size, size, several)
            portions.append(
                Portion(ordered_batches(train, order), epochs, order)
            )
    return portions


class Trainer:
    """Trains models on data, and evaluates them.

    Args:
        training: how a model is trained.
        data: the data.
        rows_at_once: the smallest number of rows to evaluate at once.
        seed: determines the order of the rows.

    Attributes:
        optimality: the optimality residual below which training stops; None if
            the residual is not used.
    """

    def __init__(
        self,
        training: Training,
        data: TrainingData,
        rows_at_once: int,
        seed: int,
    ) -> None:
        self._training = training
        self._rows_at_once = rows_at_once
        self._seed = seed
        self.optimality: float | None = None
        train = data.train
        self._portions = [Portion(train, training.epochs)]
        self._train_to_evaluate = train
        if isinstance(train, Arrays):
            self._portions = _portions(train, training)
            self._train_to_evaluate = self._evaluation_data(train)
        self._validation = self._evaluation_data(data.validation)

    def train(
        self, model: keras.Model, number: int, *, frozen: bool = False
    ) -> tuple[int, bool]:
        """Train a model; return the passes made, and whether it converged.

        Args:
            model: the model.
            number: the number of the point; with the seed, it determines the
                order of the rows.
            frozen: whether the support of the model is frozen.
        """
        training = self._training
        validation = None if training.patience is None else self._validation
        monitor = "loss" if validation is None else f"val_{training.monitor}"
        stopping = Stopping(
            self.optimality,
            training.patience,
            monitor,
            support_optimality if frozen else _optimality,
        )
        passes = looks = 0
        for portion in self._portions:
            if portion.order is not None:
                _run_several_steps_at_once(model, portion.order.per_epoch)
            # Numbers start at -1, but a seed must not be negative.
            seed = self._seed, number + 1
            model.fit(
                portion.data,
                initial_epoch=looks,
                epochs=looks + portion.epochs,
                verbose=0,
                callbacks=[SeededStart(seed, portion.order, passes), stopping],
                shuffle=False,
                validation_data=validation,
            )
            passes += (stopping.looks - looks) * portion.passes
            looks = stopping.looks
            if stopping.converged:
                break
        return passes, stopping.converged

    def on_training_data(self, model: keras.Model) -> dict[str, float]:
        """The metrics of a model on the training data."""
        return evaluated_metrics(model, self._train_to_evaluate)

    def on_validation_data(self, model: keras.Model) -> dict[str, float]:
        """The metrics of a model on the validation data; empty without them."""
        if self._validation is None:
            return {}
        return evaluated_metrics(model, self._validation)

    def _evaluation_data(self, part: Any) -> Any:
        if not isinstance(part, Arrays):
            return part
        size = max(self._training.batch_size or part.size, self._rows_at_once)
        return evaluation_batches(part, size)


def point_of(
    model: keras.Model,
    trainer: Trainer,
    penalized: list[keras.Variable],
    strength: float,
    strength_max: float | None,
    before: tuple[int, float],
    trained: tuple[int, bool],
) -> PathPoint:
    """The figures of a model after training at a strength.

    Args:
        model: the model.
        trainer: the trainer of the model.
        penalized: the weights with the penalty.
        strength: the strength.
        strength_max: the strength above which everything is zero; None if it
            was not computed.
        before: the optimizer's iterations and the time before training.
        trained: the passes made, and whether training converged, as
            `Trainer.train` returns them.
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
        train=trainer.on_training_data(model),
        validation=trainer.on_validation_data(model),
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


def evaluated_metrics(model: keras.Model, part: Any) -> dict[str, float]:
    """The metrics of a model on batches, as `evaluate` returns them."""
    metrics = model.evaluate(part, verbose=0, return_dict=True)
    return {name: float(value) for name, value in metrics.items()}


def _run_several_steps_at_once(model: keras.Model, batches: int) -> None:
    """Set `steps_per_execution` to many steps, unless the user has set it.

    In a small model, Python between the steps would take most of the time.
    """
    if model.steps_per_execution != 1 or keras.backend.backend() == "torch":
        return
    if model.train_function is None:
        model.steps_per_execution = max(
            n for n in range(1, _LOOK_STEPS + 1) if batches % n == 0
        )
