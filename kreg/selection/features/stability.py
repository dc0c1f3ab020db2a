"""Which input features are selected whatever rows a model sees."""

import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import keras

from kreg._arguments import positive_integer, positive_number
from kreg.selection.comparison.compare import checked_executor
from kreg.selection.data.folds import complementary_halves
from kreg.selection.data.rows import (
    Arrays,
    TrainingData,
    checked_part,
    training_data,
)
from kreg.selection.features.entry_order import first_features
from kreg.selection.features.stability_result import (
    StabilityResult,
    checked_threshold,
    largest_number,
)
from kreg.selection.paths.checkpoints import claim_directory
from kreg.selection.paths.result import PathResult
from kreg.selection.paths.task import PathTask, run_kept
from kreg.selection.progress import shown_paths
from kreg.selection.strengths.grid import checked_strengths
from kreg.selection.strengths.penalty_family import penalty_family
from kreg.selection.training.inputs import first_kernels, input_lasso
from kreg.selection.training.models import (
    OneArchitecture,
    architecture,
    new_model,
)
from kreg.selection.workers import refuse_what_cannot_be_sent

_OPTIONS = (
    "num_strengths",
    "ratio",
    "direction",
    "batch_size",
    "tolerance",
    "patience",
)


def stability_selection(
    build_model: Callable[[], keras.Model],
    data: Any,
    penalty: Any = input_lasso,
    *,
    epochs: int,
    strengths: Any = "auto",
    expected_false: float = 1.0,
    threshold: float = 0.75,
    pairs: int = 50,
    executor: Executor | None = None,
    directory: str | os.PathLike[str] | None = None,
    seed: int = 0,
    verbose: int = 1,
    **path_options: Any,
) -> StabilityResult:
    """Find the input features that most halves of the rows select.

    Choose it where a false feature costs more than a missed one: the expected
    number of features selected by mistake is bounded, whatever the model.
    Selecting once gives no such bound, and a strength that predicts best lets
    in noise.

    The rows are split at random into two halves, `pairs` times. On each half a
    path is run, and the features that enter first are its selection, so many
    that `q ** 2 <= expected_false * p * (2 * threshold - 1)`, for q of p
    features. Those that at least the fraction `threshold` of the halves select
    are stable. `kreg.selection.stability_bound` has the assumptions.

    It costs `2 * pairs` paths, each on half of the rows. The strengths decide
    how finely a path tells which feature is next: where several enter at once
    and not all fit, none is taken.

    Args:
        build_model: as for `kreg.path`. The model has a single flat input that
            dense layers read.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays.
        penalty: as for `kreg.path`. Defaults to
            `kreg.selection.input_lasso`, on all kernels.
        epochs: int >= 1, as for `kreg.path`.
        strengths: as for `kreg.path`. Defaults to `"auto"`: each half has a
            grid of its own.
        expected_false: float > 0, the bound on the expected number of features
            that are selected by mistake. Defaults to `1.0`.
        threshold: float in (0.5, 1], the fraction of the halves. Above 0.6 it
            matters little: a lower one asks for fewer features of each half.
            Defaults to `0.75`.
        pairs: int >= 1, how many pairs of halves. Defaults to `50`.
        executor: a `concurrent.futures.Executor` such as
            `kreg.selection.LocalProcesses`, to run paths side by side.
            Defaults to `None`: in this process, one after the other. Paths of
            workers that are lost are run again.
        directory: a local folder for finished paths and points, seen by all
            workers. The same call goes on where the last one ended; with more
            `pairs`, another bound or another threshold it runs only what is
            new. Defaults to `None`: nothing is kept.
        seed: int >= 0, of the halves and the paths. Defaults to `0`.
        verbose: 0 or 1, whether to show progress on a terminal. Defaults to
            `1`.
        **path_options: arguments of `kreg.path`: `num_strengths`, `ratio`,
            `direction`, `batch_size`, `tolerance`, `patience`.

    Returns:
        A `kreg.selection.StabilityResult`.

    Raises:
        TypeError: as `kreg.path`, and if `data` is no arrays, or `executor`
            cannot run `build_model`.
        ValueError: as `kreg.path`, and if the bound allows no feature at all,
            a half has one class alone, the model does not tell which features
            it reads, or `directory` holds another selection. All before
            training starts.
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
    ...     epochs=50, batch_size=None, pairs=2, expected_false=1.6,
    ...     num_strengths=8, ratio=0.05)
    >>> result.selected
    (1, 4)

    References:

    - Meinshausen and Buehlmann, "Stability selection", Journal of the Royal
      Statistical Society B 72 (2010).
    - Shah and Samworth, "Variable selection with error control: another look
      at stability selection", Journal of the Royal Statistical Society B 75
      (2013), for the complementary pairs.
    """
    arrays = checked_part("data", data)
    if not isinstance(arrays, Arrays):
        raise TypeError(
            "`data` must be `(x, y)` or `(x, y, sample_weight)` of arrays, "
            "because its rows are split into halves. "
            f"Received: data of type {type(data).__name__}"
        )
    unknown = sorted(set(path_options) - set(_OPTIONS))
    if unknown:
        raise TypeError(
            "`stability_selection` takes of the arguments of `kreg.path` only "
            f"{', '.join(_OPTIONS)}, beside those in its own list. "
            f"Received: {', '.join(unknown)}"
        )
    training_data(arrays)
    pairs = positive_integer("pairs", pairs)
    options = {**path_options, "epochs": positive_integer("epochs", epochs)}
    given = checked_strengths(strengths)
    family = penalty_family(penalty)
    model = new_model(build_model, seed)
    num_features = _num_features(model)
    number = _allowed_number(expected_false, num_features, threshold)
    halves = complementary_halves(arrays, pairs, seed)
    executor = checked_executor(executor)
    refuse_what_cannot_be_sent(
        executor, build_model=build_model, penalty=penalty
    )
    known = architecture(model)
    folder = None if directory is None else Path(directory)
    if folder is not None:
        identity = {
            "penalty": family.text,
            "strengths": given,
            "options": options,
            "seed": seed,
            "data": arrays.fingerprint(),
            "architecture": known,
        }
        claim_directory(folder, "selection", identity)
    tasks = {
        i: PathTask(
            build_model=OneArchitecture(build_model, known),
            data=TrainingData(arrays.rows(half), sizes=(len(half), None)),
            penalty=penalty,
            strengths=strengths,
            seed=seed + i // 2,
            options=options,
            directory=None if folder is None else folder / f"half_{i:04d}",
        )
        for i, half in enumerate(halves)
    }
    found: dict[int, tuple[int, ...]] = {}
    with shown_paths(len(tasks), verbose) as show:

        def ended(half: int, result: PathResult) -> None:
            found[half] = first_features(result, number)
            show(f"{len(found[half])} features")

        run_kept(tasks, executor, ended)
    return StabilityResult(
        selections=tuple(found[i] for i in range(len(halves))),
        num_features=num_features,
        limit=number,
        threshold=threshold,
        seed=seed,
    )


def _num_features(model: keras.Model) -> int:
    kernels = first_kernels(model)
    if not kernels:
        raise ValueError(
            "`build_model` must make a model with a single flat input that "
            "dense layers read, or features that it does not read cannot be "
            f"told. Received: build_model()={model!r}"
        )
    return int(kernels[0].shape[0])


def _allowed_number(
    expected_false: float, num_features: int, threshold: float
) -> int:
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
