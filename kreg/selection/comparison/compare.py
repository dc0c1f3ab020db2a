"""Which penalty, and how strong: a comparison by cross-validation."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kreg._arguments import local_path, positive_integer, real_number
from kreg.selection.comparison.choice import Select, checked_select
from kreg.selection.comparison.figures import finished_comparison
from kreg.selection.comparison.hparams import write_hparams
from kreg.selection.comparison.penalties import (
    named_penalties,
    refuse_bad_models,
    strengths_by_name,
)
from kreg.selection.comparison.result import CompareResult
from kreg.selection.comparison.run import ComparisonRun
from kreg.selection.data.folds import checked_folds, folds_of
from kreg.selection.data.rows import Arrays, checked_part, training_data
from kreg.selection.strengths.grid import checked_grid
from kreg.selection.training.models import OneArchitecture
from kreg.selection.workers import refuse_what_cannot_be_sent

_OPTIONS = (
    "num_strengths",
    "ratio",
    "direction",
    "batch_size",
    "tolerance",
    "patience",
    "refit",
)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `kreg.path`, if they may be chosen.

    Raises:
        TypeError: if there is another.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise TypeError(
            "`compare` takes of the arguments of `kreg.path` only "
            f"{', '.join(_OPTIONS)}, beside those in its own list. "
            f"Received: {', '.join(unknown)}"
        )
    return dict(options)


def checked_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds, different integers of at least 0.

    Raises:
        TypeError: if they are no integers.
        ValueError: if there are none, or one twice or below 0.
    """
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise TypeError(
            "`seeds` must be an iterable of integers. "
            f"Received: seeds={seeds!r}"
        )
    given = tuple(seeds)
    if not all(
        isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
        for seed in given
    ):
        raise TypeError(
            f"`seeds` must hold integers. Received: seeds={given!r}"
        )
    numbers = tuple(int(seed) for seed in given)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError(
            "`seeds` must hold different integers of at least 0, one at "
            f"least. Received: seeds={given!r}"
        )
    return numbers


def checked_executor(executor: Any) -> Executor | None:
    """`executor`, if it is one."""
    if executor is None or isinstance(executor, Executor):
        return executor
    raise TypeError(
        "`executor` must be a `concurrent.futures.Executor`, such as "
        "`kreg.selection.LocalProcesses()`; of a dask client it is "
        f"`client.get_executor()`. Received: executor={executor!r} (of type "
        f"{type(executor).__name__})"
    )


def train_and_test(data: Any, test: Any, seed: int) -> tuple[Arrays, Any]:
    """The rows that folds are made of, and what to test on.

    Args:
        data: the data, as of `kreg.compare`.
        test: the test data, a fraction of `data`, or None.
        seed: decides which rows a fraction sets aside.

    Raises:
        TypeError: if `data` is not arrays, or `test` no data.
        ValueError: if they are empty, hold NaN, do not fit together, or the
            fraction is not in (0, 1).
    """
    fraction = 0.0
    if isinstance(test, Real):
        fraction = real_number("test", test)
        if not 0.0 < fraction < 1.0:
            raise ValueError(
                "`test` must be data, or a fraction of them in (0, 1). "
                f"Received: test={test!r}"
            )
    train = checked_part("data", data)
    if not isinstance(train, Arrays):
        raise TypeError(
            "`data` must be `(x, y)` or `(x, y, sample_weight)` of arrays, "
            "because folds are made of rows. "
            f"Received: data of type {type(data).__name__}"
        )
    if fraction:
        split = training_data(train, validation_split=fraction, seed=seed)
        return split.train, split.validation
    training_data(train)
    return train, None if test is None else checked_part("test", test)


def compare(
    build_model: Callable[[], keras.Model],
    data: Any,
    penalties: Mapping[str, Any] | Iterable[Any] | None = None,
    *,
    epochs: int,
    strengths: Any = "auto",
    folds: Any = 5,
    seeds: Sequence[int] = (0,),
    test: Any = None,
    select: Select = "one_standard_error",
    monitor: str = "data_loss",
    executor: Executor | None = None,
    directory: str | os.PathLike[str] | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    verbose: int = 1,
    **options: Any,
) -> CompareResult:
    """Compare penalties, and their strengths, by cross-validation.

    Choose it to decide between no penalty, L1, L2 or both, and how strong. For
    each penalty, fold and seed it runs one path, as `kreg.path` does: all on
    the same rows, from the same initial weights. The strengths of a penalty
    are the same in all folds. Then the chosen penalty is trained on all
    training data, up to the chosen strength, and evaluated on the test data
    once.

    A strength is chosen by the mean over folds of the monitored metric on what
    they leave out:

    - `"one_standard_error"`: the largest strength whose mean is within one
      standard error of the best. Of several penalties the one that is the
      sparsest there, if it is within one standard error of the best of all;
    - `"best"`: the best mean;
    - a sparsity: the smallest strength whose mean sparsity reaches it; the
      sparsest where none does.

    Training without a penalty may make as many passes as the longest path, so
    that no penalty wins by longer training alone. A linear model is trained on
    until the minimum, as `tolerance` tells. A network may fit more noise the
    longer it is trained, so of the moments after each `epochs` passes the one
    with the best mean over folds is taken; its row tells how many passes that
    are.

    Two penalties are compared fold by fold, each at the strength that the
    *other* folds choose, so that many strengths to choose from are no
    advantage. The test is the corrected resampled t-test of Nadeau and Bengio:
    folds share most of what they are trained on, and the plain t-test, which
    does not know, finds differences that are not there. Where several pairs
    are compared, p-values are adjusted after Holm, and the intervals of the
    differences have the levels that Holm asks for, so that an interval leaves
    out 0 exactly where a difference is significant. "No significant
    difference" is an outcome: few folds of few rows often tell no more.

    The means of `rows` at the chosen strengths are a little too good, because
    they were chosen by them. The figures of the test are not. Neither are they
    of use any more once you have chosen something else because of them. With
    `patience`, what a fold leaves out also decides when to stop; the training
    on all data then stops by its own loss. With `tolerance` alone, nothing
    that is left out has an influence on any weight.

    What `build_model` computes from data beforehand, such as a
    `keras.layers.Normalization` that was adapted, knows the rows that folds
    leave out.

    Args:
        build_model: a function without arguments that returns a new model,
            built and compiled, as of `kreg.path`.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays or structures of
            them. Not a dataset, of which no rows can be left out.
        penalties: a mapping from names to penalties as of `kreg.path`, such as
            `{"L1": kreg.L1, "elastic": lambda s: kreg.L1L2(s, 1e-4)}`, with
            None for no penalty; or an iterable of such penalties, named by
            themselves. Defaults to `None`: none, `L1`, `L2`, `L1L2` with equal
            strengths, and `GroupLasso`.
        epochs: int, how many passes over the data are made at each strength at
            most.
        strengths: an iterable of different numbers >= 0 for all penalties, or
            a mapping from their names to such. What is missing, or `"auto"`,
            the default, is a grid as of `kreg.path`, from all training data.
        folds: int >= 2, how many folds, or an iterable of pairs of row indices
            `(train, validation)`, such as scikit-learn's splitters give.
            Defaults to `5`. Classes are spread evenly over folds.
        seeds: the seeds. Each makes folds (unless they are given), initial
            weights and orders of the rows of its own. Defaults to `(0,)`.
        test: what to evaluate the chosen model on: data in the forms of
            `data`, an iterable of batches such as a `tf.data.Dataset`, or a
            fraction in (0, 1) of `data`, which is set aside by the first seed
            before anything else. Defaults to `None`.
        select: the rule that chooses. Defaults to `"one_standard_error"`.
        monitor: str, the metric. Defaults to `"data_loss"`.
        executor: a `concurrent.futures.Executor` that runs paths side by side:
            `kreg.selection.LocalProcesses()`, or that of a cluster, such as
            `Client(...).get_executor()` of dask.distributed. Paths of workers
            that are lost are run again. Defaults to `None`: in this process,
            one after the other, which suits a GPU and notebooks. The result
            is the same, up to rounding where machines or threads differ.
        directory: a local folder for finished paths and points, seen by all
            workers. The same call goes on where the last one ended. Defaults
            to `None`.
        log_dir: the folder of a TensorBoard log, whose HParams page shows each
            penalty and strength as a trial. Defaults to `None`: no log.
        verbose: 0 or 1, whether to show progress on a terminal. Defaults to
            `1`.
        **options: further arguments of `kreg.path`, the same for all paths:
            `num_strengths`, `ratio`, `direction`, `batch_size`, `tolerance`,
            `patience`, `refit`.

    Returns:
        A `kreg.selection.CompareResult`. Print it for a table.

    Raises:
        TypeError: if an argument is of no allowed kind, or cannot be sent to
            the processes of `executor`.
        ValueError: if one has no allowed value; if data are empty, hold NaN or
            differ in their numbers of rows; if there are fewer rows than
            folds, or a fold is trained on one class alone; if `build_model`
            returns one model twice, or models of several architectures or
            that share an optimizer or trainable weights; if `directory` holds
            another comparison. All before training starts.
        RuntimeError: if workers are lost several times in a row.

    Example:

    >>> import keras, kreg, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(60, 6)).astype("float32")
    >>> y = 2.0 * x[:, :1] + rng.normal(size=(60, 1)).astype("float32")
    >>> def build_model():
    ...     model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    ...     return model
    >>> result = kreg.compare(
    ...     build_model, (x, y), [None, kreg.L1], strengths=[1.0, 0.3],
    ...     folds=2, test=0.2, epochs=96, batch_size=None, verbose=0)
    >>> result.chosen_penalty, result.chosen.strength
    ('L1', 1.0)
    >>> sorted(result.test)
    ['data_loss', 'loss', 'penalty']

    References:
        Nadeau and Bengio, "Inference for the Generalization Error", Machine
        Learning 52, 2003. Hastie, Tibshirani and Friedman, "The Elements of
        Statistical Learning", 2nd edition, section 7.10, for one standard
        error. Holm, "A Simple Sequentially Rejective Multiple Test Procedure",
        Scandinavian Journal of Statistics 6, 1979.
    """
    named = named_penalties(penalties)
    given = strengths_by_name(strengths, named)
    rule = checked_select(select)
    all_seeds = checked_seeds(seeds)
    train, held_back = train_and_test(data, test, all_seeds[0])
    cut = checked_folds(folds)
    log = None if log_dir is None else local_path(log_dir)
    run = ComparisonRun(
        build_model=build_model,
        train=train,
        penalties=named,
        folds={seed: folds_of(train, cut, seed) for seed in all_seeds},
        options={
            **checked_options(options),
            "epochs": positive_integer("epochs", epochs),
            "monitor": monitor,
        },
        grid=checked_grid(
            options.get("num_strengths", 30), options.get("ratio", 1e-3)
        ),
        executor=checked_executor(executor),
        directory=None if directory is None else Path(directory),
    )
    architecture = refuse_bad_models(
        build_model, named, train, monitor, all_seeds[0]
    )
    run = replace(run, build_model=OneArchitecture(build_model, architecture))
    refuse_what_cannot_be_sent(
        executor, build_model=build_model, penalties=list(named.values())
    )
    run.claim_directory(given, architecture)
    result = finished_comparison(run, given, rule, held_back, verbose)
    if log is not None:
        write_hparams(result, log)
    return result
