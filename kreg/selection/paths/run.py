"""`PathRun`: runs a path from its start, point by point."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg.results.files import Weights
from kreg.selection.data.rows import TrainingData
from kreg.selection.execution.execution import shown_progress
from kreg.selection.paths.checkpoints import Checkpoints, Header
from kreg.selection.paths.result import PathResult
from kreg.selection.strengths.grid import (
    Direction,
    StrengthGrid,
    Unpenalized,
)
from kreg.selection.strengths.penalty_family import PenaltyFamily
from kreg.selection.strengths.strength_max import (
    largest_zeroing_strength,
    top_of_grid,
)
from kreg.selection.training.gradient import data_gradient, rows_at_once
from kreg.selection.training.inputs import is_linear
from kreg.selection.training.models import (
    Values,
    assign_values,
    make_proximal,
    values_of,
)
from kreg.selection.training.point import (
    PathPoint,
    Trainer,
    iterations,
    point_of,
)
from kreg.selection.training.stopping import (
    METRICS_OF_ALL_MODELS,
    refuse_unknown_monitor,
    warn_of_unknown_optimality,
)
from kreg.selection.training.training import Training
from kreg.surgery import freeze_support

_LENGTHS = (1.0, 0.5)


def extrapolate(
    variables: Sequence[keras.Variable],
    before: Values,
    strengths: Sequence[float],
    objective: Callable[[], float],
) -> Values:
    """Extrapolate weights to the next strength.

    This is the predictor of a predictor-corrector method; training is the
    corrector. Weights are extrapolated linearly in the logarithm of the
    strength. They move all the way, half of it, or not at all, whichever gives
    the lowest objective. An entry that would change its sign does not move. So
    no entry becomes zero here, and zeros stay zero.

    Args:
        variables: the weights, trained at the last strength.
        before: the values of the weights one strength earlier; empty if there
            was none.
        strengths: the last but one, the last and the next strength.
        objective: returns the objective at the next strength.

    Returns:
        The values of the weights before they were moved.

    References:
        Park and Hastie, "L1-regularization path algorithm for generalized
        linear models", Journal of the Royal Statistical Society B 69(4), 2007.
    """
    last = values_of(variables)
    if not before or min(strengths) == 0.0:
        return last
    first, second, third = map(math.log, strengths)
    ratio = (third - second) / (second - first)
    best, lowest = last, objective()
    for length in _LENGTHS:
        moved = [
            _with_signs_kept(new, new + length * ratio * (new - old))
            for old, new in zip(before, last, strict=True)
        ]
        assign_values(variables, moved)
        reached = objective()
        if reached < lowest:
            best, lowest = moved, reached
    assign_values(variables, best)
    return last


def _with_signs_kept(
    weights: NDArray[Any], moved: NDArray[Any]
) -> NDArray[Any]:
    return np.where(weights * moved > 0.0, moved, weights)


# The number of the point at strength 0, which comes before the first.
_START = -1
# With fewer epochs, the three passes of `extrapolate` would cost too much.
_EPOCHS_TO_EXTRAPOLATE = 32


class PathRun:
    """The models of a path, and its progress.

    Args:
        model: the model of all points, as `build_model` returned it.
        twin: a second model, for refits; None without refits.
        family: the penalty.
        training: how to train at each strength.
        data: the training data and the validation data.
        store: the finished points.
        seed: the seed.
    """

    def __init__(
        self,
        model: keras.Model,
        twin: keras.Model | None,
        family: PenaltyFamily,
        training: Training,
        data: TrainingData,
        store: Checkpoints,
        seed: int,
    ) -> None:
        self._model = model
        self._family = family
        self._training = training
        self._trainer = Trainer(training, data, rows_at_once(model), seed)
        self._seed = seed
        self._train = data.train
        self._store = store
        self._penalized = _prepared(model, family)
        self._linear = is_linear(model)
        self._twin = twin
        self._new_optimizer_state: Values = []
        if twin is not None:
            _prepared(twin, family)
            self._new_optimizer_state = values_of(twin.optimizer.variables)
        self._progress: Header = {}
        self._before: Values = []

    def prepare(
        self, strengths: StrengthGrid | Unpenalized, direction: Direction
    ) -> None:
        """Choose the strengths and the start, or read them from the store.

        Args:
            strengths: the strengths, or the grid from which to compute them.
            direction: whether strengths increase or decrease along the path.
        """
        stored = self._store.load_state(self._model)
        if stored is None:
            self._refuse_unknown_monitor()
            self._progress = self._start_of_path(strengths, direction)
            self._save_state()
        else:
            self._progress, self._before = stored
        self._trainer.optimality = self._progress["optimality"]

    def result(self, verbose: int) -> PathResult:
        """Run the points that are not finished; return all points."""
        strengths = self._progress["strengths"]
        monitor = self._training.monitor
        done: list[tuple[PathPoint, Weights]] = []
        with shown_progress("path", len(strengths), verbose) as show:
            for number, strength in enumerate(strengths):
                if number < self._progress["finished"]:
                    done.append(self._store.load_point(number))
                else:
                    done.append(self._run_point(number, strength))
                show(_line(done[-1][0], monitor))
        start = self._progress["start"]
        return PathResult(
            points=tuple(point for point, _ in done),
            penalty=self._family.text,
            monitor=monitor,
            strength_max=self._progress["strength_max"],
            seed=self._seed,
            start=None if start is None else PathPoint.from_dict(start),
            weights=tuple(weights for _, weights in done),
        )

    def _refuse_unknown_monitor(self) -> None:
        monitor, model = self._training.monitor, self._model
        if monitor not in METRICS_OF_ALL_MODELS:
            figures = self._trainer.on_validation_data(model)
            figures = figures or self._trainer.on_training_data(model)
            refuse_unknown_monitor(monitor, figures)

    def _start_of_path(
        self,
        grid: StrengthGrid | Unpenalized,
        direction: Direction,
    ) -> Header:
        """Set the model to its start; return the state before any point."""
        model, family = self._model, self._family
        train, limit = self._train, self._training.tolerance
        if limit is not None:
            if self._training.patience is None:
                warn_of_unknown_optimality(model)
            with data_gradient(model, train) as gradient:
                limit *= _norm(gradient())
        strengths, start, largest = grid.values, None, None
        if self._linear:
            largest = largest_zeroing_strength(model, train, family)
            if limit is not None and self._training.tolerance:
                limit = min(
                    limit, self._training.tolerance * self._pull(largest)
                )
        self._trainer.optimality = limit
        if strengths is None and not self._linear:
            start = self._trained(model, _START, 0.0, None).to_dict()
            largest = largest_zeroing_strength(model, train, family)
        if strengths is None:
            strengths = grid.below(top_of_grid(model, train, family, largest))
        elif largest is not None and math.isnan(largest):
            largest = None
        if direction == "down" and self._linear:
            for variable in self._penalized:
                variable.assign(ops.zeros(variable.shape, variable.dtype))
        return {
            "finished": 0,
            "strengths": sorted(strengths, reverse=direction == "down"),
            "strength_max": largest,
            "optimality": limit,
            "start": start,
        }

    def _pull(self, largest: float | None) -> float:
        """The norm of a gradient whose entries all have the size `largest`.

        If inputs or targets are far from zero, the gradient at the initial
        weights is large only because a bias is not fitted yet. This norm does
        not depend on that.

        Args:
            largest: the strength above which everything is zero; None if
                unknown.
        """
        if not largest or math.isnan(largest):
            return math.inf
        size = sum(math.prod(variable.shape) for variable in self._penalized)
        return largest * math.sqrt(size)

    def _run_point(
        self, number: int, strength: float
    ) -> tuple[PathPoint, Weights]:
        """Run a point, and write it to the store."""
        largest = self._progress["strength_max"]
        point = self._trained(self._model, number, strength, largest)
        model = self._model
        if self._twin is not None:
            model = self._twin
            point = self._refitted(model, number, point)
        weights = tuple(model.get_weights())
        self._store.save_point(number, point, weights)
        self._progress = {**self._progress, "finished": number + 1}
        self._save_state()
        return point, weights

    def _save_state(self) -> None:
        self._store.save_state(self._progress, self._model, self._before)

    def _trained(
        self,
        model: keras.Model,
        number: int,
        strength: float,
        strength_max: float | None,
    ) -> PathPoint:
        self._family.penalty.multiplier = strength
        before = iterations(model), time.perf_counter()
        frozen = model is self._twin
        if number > 0 and not frozen:
            self._move_to_extrapolated_start(number)
        trained = self._trainer.train(model, number, frozen=frozen)
        return point_of(
            model,
            self._trainer,
            self._family.attached_weights(model),
            strength,
            strength_max,
            before,
            trained,
        )

    def _move_to_extrapolated_start(self, number: int) -> None:
        if self._training.epochs < _EPOCHS_TO_EXTRAPOLATE:
            return
        model, trainer = self._model, self._trainer
        self._before = extrapolate(
            model.trainable_variables,
            self._before,
            self._progress["strengths"][max(0, number - 2) : number + 1],
            # A user's own `test_step` may not return the loss.
            lambda: trainer.on_training_data(model).get("loss", math.nan),
        )

    def _refitted(
        self, twin: keras.Model, number: int, point: PathPoint
    ) -> PathPoint:
        """Train the twin from the model's weights: zeros fixed, no penalty."""
        twin.set_weights(self._model.get_weights())
        assign_values(twin.optimizer.variables, self._new_optimizer_state)
        freeze_support(twin, self._family.attached_weights(twin))
        refitted = self._trained(
            twin, number, point.strength, self._progress["strength_max"]
        )
        return replace(
            refitted,
            epochs=point.epochs + refitted.epochs,
            steps=point.steps + refitted.steps,
            seconds=point.seconds + refitted.seconds,
            optimality=point.optimality,
            converged=point.converged and refitted.converged,
        )


def _prepared(
    model: keras.Model, family: PenaltyFamily
) -> list[keras.Variable]:
    """Attach the penalty to a model, and wrap its optimizer for it."""
    penalized = family.attach(model)
    make_proximal(model)
    model.optimizer.build(model.trainable_variables)
    return penalized


def _line(point: PathPoint, monitor: str) -> str:
    """A point in one line, for the progress bar."""
    line = f"strength {point.strength:.3g}, sparsity {point.sparsity:.1%}"
    figure = point.validation.get(monitor, point.train.get(monitor))
    return line if figure is None else f"{line}, {monitor} {figure:.4g}"


def _norm(arrays: Sequence[Any]) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(a))) for a in arrays)))
