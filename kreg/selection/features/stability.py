"""`stability_selection`: features that most random halves of rows select."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras

from kreg._arguments import (
    nonnegative_integer,
    positive_integer,
    positive_number,
)
from kreg.selection.data.folds import complementary_halves
from kreg.selection.data.rows import TrainingData, training_data
from kreg.selection.execution.execution import (
    Execution,
    checked_execution,
    shown_progress,
)
from kreg.selection.execution.workers import refuse_what_cannot_be_sent
from kreg.selection.features.entry_order import first_features
from kreg.selection.features.stability_result import (
    StabilityResult,
    checked_threshold,
    largest_number,
)
from kreg.selection.moved_arguments import names_moved_arguments
from kreg.selection.paths.checkpoints import claim_directory
from kreg.selection.paths.result import PathResult
from kreg.selection.paths.task import PathTask, run_kept
from kreg.selection.strengths.grid import Strengths, strength_grid
from kreg.selection.strengths.penalty_family import (
    PenaltyChoice,
    penalty_family,
)
from kreg.selection.training.inputs import first_kernels, input_lasso
from kreg.selection.training.models import (
    OneArchitecture,
    architecture,
    new_model,
)
from kreg.selection.training.training import Training, checked_training


@names_moved_arguments
def stability_selection(
    build_model: Callable[[], keras.Model],
    data: Any,
    penalty: PenaltyChoice = input_lasso,
    *,
    training: Training,
    strengths: Strengths = "auto",
    expected_false: float = 1.0,
    threshold: float = 0.75,
    pairs: int = 50,
    execution: Execution = Execution(),
    seed: int = 0,
) -> StabilityResult:
    """Find the input features that most halves of the rows select.

    Choose it if a false feature costs more than a missed one: the expected
    number of features selected by mistake is bounded, whatever the model. A
    single selection has no such bound, and the strength that predicts best lets
    in noise features.

    The rows are split at random into two halves, `pairs` times. A path is run
    on each half, and selects the features that enter it first, at most q of p,
    where `q ** 2 <= expected_false * p * (2 * threshold - 1)`. A feature is
    stable if at least the fraction `threshold` of the halves select it.
    `kreg.selection.stability_bound` states the assumptions.

    It costs `2 * pairs` paths, each on half of the rows. A finer grid of
    strengths separates features better: if several enter at the same strength
    and would exceed q, none of them is selected.

    Args:
        build_model: as for `kreg.path`. The model must have a single flat input
            that only dense layers read.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays.
        penalty: as for `kreg.path`. Defaults to
            `kreg.selection.input_lasso`, on all kernels.
        training: a `kreg.selection.Training`, without `refit`: how a model is
            trained at each strength.
        strengths: as for `kreg.path`. Defaults to `"auto"`: each half has its
            own grid.
        expected_false: float > 0, the bound on the expected number of features
            that are selected by mistake. Defaults to `1.0`.
        threshold: float in (0.5, 1], the fraction of the halves that must
            select a feature. Its choice matters little above 0.6, because with
            a lower threshold each half may select fewer features. Defaults to
            `0.75`.
        pairs: int >= 1, the number of pairs of halves. Defaults to `50`.
        execution: a `kreg.selection.Execution`: where paths run, in which
            folder they are saved, and whether progress is shown. With the same
            folder, a call with more `pairs`, another bound or another threshold
            runs only new paths. Defaults to `Execution()`: in this process,
            without saving, with progress on a terminal.
        seed: int >= 0, determines the halves and the paths. Defaults to `0`.

    Returns:
        A `kreg.selection.StabilityResult`.

    Raises:
        TypeError: as `kreg.path`, and if `data` are not arrays, or the executor
            cannot run `build_model`.
        ValueError: as `kreg.path`, and if the bound allows no feature at all,
            a half has a single class, the model does not have a single flat
            input that dense layers read, or the folder holds another selection.
            All errors are raised before training starts.
        RuntimeError: if workers are lost several times in a row.

    Example:

    >>> import keras, kreg, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> y = 3.0 * x[:, 1] - 2.0 * x[:, 4] + rng.normal(size=100)
    >>> def build_model():
    ...     model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    ...     return model
    >>> result = kreg.selection.stability_selection(build_model, (x, y),
    ...     training=kreg.selection.Training(50, batch_size=None),
    ...     strengths=kreg.selection.StrengthGrid(8, ratio=0.05),
    ...     pairs=2, expected_false=1.6)
    >>> result.selected
    (1, 4)

    References:

    - Meinshausen and Buehlmann, "Stability selection", Journal of the Royal
      Statistical Society B 72 (2010).
    - Shah and Samworth, "Variable selection with error control: another look
      at stability selection", Journal of the Royal Statistical Society B 75
      (2013), for the complementary pairs.
    """
    arrays = training_data(
        data, needs_rows="its rows are split into halves"
    ).train
    pairs = positive_integer("pairs", pairs)
    seed = nonnegative_integer("seed", seed)
    grid = strength_grid(strengths)
    execution = checked_execution(execution)
    if checked_training(training).refit:
        raise ValueError(
            "`training` must have `refit=False`: a refit keeps the zeros of a "
            f"path, so it changes no selection. Received: training={training!r}"
        )
    family = penalty_family(penalty)
    model = new_model(build_model, seed)
    num_features = _num_features(model)
    limit = _selection_limit(expected_false, num_features, threshold)
    halves = complementary_halves(arrays, pairs, seed)
    refuse_what_cannot_be_sent(
        execution.executor, build_model=build_model, penalty=penalty
    )
    model_architecture = architecture(model)
    folder = execution.folder()
    if folder is not None:
        identity = {
            "penalty": family.text,
            "strengths": asdict(grid),
            **asdict(training),
            "seed": seed,
            "data": arrays.fingerprint(),
            "architecture": model_architecture,
        }
        claim_directory(folder, "selection", identity)
    tasks = {
        i: PathTask(
            build_model=OneArchitecture(build_model, model_architecture),
            data=TrainingData(arrays.rows(half)),
            penalty=penalty,
            strengths=grid,
            training=training,
            seed=seed + i // 2,
            directory=execution.folder(f"half_{i:04d}"),
        )
        for i, half in enumerate(halves)
    }
    selections: dict[int, tuple[int, ...]] = {}
    with shown_progress("paths", len(tasks), execution.verbose) as show:

        def keep_selection(half: int, result: PathResult) -> None:
            selections[half] = first_features(result, limit)
            show(f"{len(selections[half])} features")

        run_kept(tasks, execution.executor, keep_selection)
    return StabilityResult(
        selections=tuple(selections[i] for i in range(len(halves))),
        num_features=num_features,
        limit=limit,
        threshold=threshold,
        seed=seed,
    )


def _num_features(model: keras.Model) -> int:
    kernels = first_kernels(model)
    if not kernels:
        raise ValueError(
            "`build_model` must return a model with a single flat input that "
            "only dense layers read; otherwise the features that it does not "
            f"read are unknown. Received: build_model()={model!r}"
        )
    return int(kernels[0].shape[0])


def _selection_limit(
    expected_false: float, num_features: int, threshold: float
) -> int:
    """The number of features that a half may select; raises if it is 0."""
    expected_false = positive_number("expected_false", expected_false)
    number = largest_number(
        expected_false, num_features, checked_threshold(threshold)
    )
    if number == 0:
        raise ValueError(
            "`expected_false` must allow each half to select a feature: make "
            "it, or `threshold`, larger. Received: "
            f"expected_false={expected_false}, threshold={threshold}, with "
            f"{num_features} features"
        )
    return number
