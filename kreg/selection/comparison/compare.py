"""`compare`: compares penalties and strengths by cross-validation."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from kreg._arguments import integer, list_of
from kreg.selection.comparison.choice import Select, checked_select
from kreg.selection.comparison.figures import finished_comparison
from kreg.selection.comparison.penalties import (
    grids_by_name,
    named_penalties,
    refuse_bad_models,
)
from kreg.selection.comparison.result import CompareResult
from kreg.selection.comparison.run import ComparisonRun
from kreg.selection.data.folds import checked_folds, folds_of
from kreg.selection.data.rows import training_data
from kreg.selection.execution.execution import Execution, checked_execution
from kreg.selection.execution.workers import refuse_what_cannot_be_sent
from kreg.selection.extra import require_extra
from kreg.selection.moved_arguments import names_moved_arguments
from kreg.selection.strengths.grid import Strengths
from kreg.selection.strengths.penalty_family import PenaltyChoice
from kreg.selection.training.inputs import is_linear
from kreg.selection.training.models import OneArchitecture, architecture
from kreg.selection.training.training import Training, checked_training


def checked_seeds(seeds: Any) -> tuple[int, ...]:
    """Return `seeds` as a tuple of different integers of at least 0.

    Raises:
        TypeError: if one is not an integer.
        ValueError: if there is none, or one is repeated or negative.
    """
    items = list_of("seeds", seeds, "an iterable of integers")
    numbers = tuple(integer("seeds", seed) for seed in items)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError(
            "`seeds` must hold at least one integer, all different and none "
            f"negative. Received: seeds={items!r}"
        )
    return numbers


@names_moved_arguments
def compare(
    build_model: Callable[[], keras.Model],
    data: Any,
    penalties: Mapping[str, PenaltyChoice | None]
    | Iterable[PenaltyChoice | None]
    | None = None,
    *,
    training: Training,
    strengths: Strengths | Mapping[str, Any] = "auto",
    folds: int | Iterable[tuple[Any, Any]] = 5,
    seeds: Iterable[int] = (0,),
    test: Any = None,
    select: Select = "one_standard_error",
    execution: Execution = Execution(),
) -> CompareResult:
    """Compare penalties, and their strengths, by cross-validation.

    Use it to decide between no penalty, L1, L2 or both, and on the strength.
    For each penalty, fold and seed it runs one path, as `kreg.path` does. All
    penalties use the same rows and start from the same initial weights. The
    strengths of a penalty are the same in all folds. Finally the chosen penalty
    is trained on all training data, up to the chosen strength, and evaluated
    once on the test data.

    A strength is chosen by the monitored metric on the held-out rows, averaged
    over folds. `select` names the rule:

    - `"one_standard_error"`: the largest strength whose mean is within one
      standard error of the best. Among the penalties, each at its chosen
      strength, it takes the sparsest whose mean is within one standard error
      of the best of all;
    - `"best"`: the strength with the best mean;
    - a sparsity: the smallest strength whose mean sparsity reaches it; if none
      does, the sparsest.

    Training without a penalty may make as many passes as the longest path, so
    that no penalty wins by longer training alone. A linear model is trained to
    the minimum, as `tolerance` defines it. A network may overfit the longer it
    is trained, so it is evaluated every `epochs` passes, and the number of
    passes with the best mean over folds is chosen.

    Two penalties are compared fold by fold, each at the strength that the
    *other* folds choose, so that having many strengths to choose from is not an
    advantage. The test is the corrected resampled t-test of Nadeau and Bengio.
    Folds share most of their training rows; the plain t-test ignores that and
    finds differences that do not exist. If several pairs are compared, p-values
    are adjusted by Holm's method. The confidence levels of the intervals follow
    Holm, too, so an interval excludes 0 exactly if the difference is
    significant. "No significant difference" is a valid outcome: few folds with
    few rows often show no more.

    The means of `rows` at the chosen strengths are slightly too good, because
    the strengths were chosen by these means. The test figures are not, as long
    as nothing is chosen because of them. With `patience`, the held-out rows
    also decide when to stop; the training on all data then stops by its own
    loss. With `tolerance` alone, they do not influence the weights.

    If `build_model` computes something from data beforehand, as when it adapts
    a `keras.layers.Normalization`, information on held-out rows leaks into the
    model.

    Args:
        build_model: a function without arguments that returns a new model,
            built and compiled, as in `kreg.path`.
        data: `(x, y)` or `(x, y, sample_weight)`, arrays or structures of them.
            A dataset is refused, because it cannot be split into folds.
        penalties: a mapping from names to penalties as in `kreg.path`, such as
            `{"L1": kreg.L1, "elastic": lambda s: kreg.L1L2(s, 1e-4)}`, with
            None for no penalty; or an iterable of such penalties, which get
            their own names. Defaults to `None`: no penalty, `L1`, `L2`, `L1L2`
            with equal strengths, and `GroupLasso`.
        training: a `kreg.selection.Training`: how a model is trained at each
            strength, and by which metric all are compared.
        strengths: an iterable of different numbers >= 0, or a
            `kreg.selection.StrengthGrid`, for all penalties; or a mapping from
            the names of penalties to such strengths. Penalties missing in the
            mapping, or all with `"auto"`, the default, get a grid as in
            `kreg.path`, computed from all training data.
        folds: int >= 2, the number of folds, or an iterable of pairs of row
            indices `(train, validation)`, as from scikit-learn's splitters.
            Defaults to `5`. Classes are spread evenly over folds.
        seeds: an iterable of ints >= 0. Each seed has its own folds (unless
            `folds` are pairs), initial weights and orders of the rows.
            Defaults to `(0,)`.
        test: the test data for the chosen model: data in the forms of `data`,
            an iterable of batches such as a `tf.data.Dataset`, or a fraction in
            (0, 1) of `data`, which is held out first, using the first seed.
            Defaults to `None`: no test.
        select: the rule for choosing. Defaults to `"one_standard_error"`.
        execution: a `kreg.selection.Execution`: where paths run, in which
            folder they are saved, and whether progress is shown. Defaults to
            `Execution()`: in this process, without saving, with progress on a
            terminal.

    Returns:
        A `kreg.selection.CompareResult`. Print it for a table.

    Raises:
        TypeError: if an argument has the wrong type, or cannot be sent to the
            processes of the executor.
        ValueError: if an argument is out of range; if data are empty, hold
            NaN or differ in their numbers of rows; if there are fewer rows
            than folds, or a fold is trained on a single class; if
            `build_model` returns one model twice, models of different
            architectures, or models that share an optimizer or trainable
            weights; if the folder belongs to another comparison. All errors
            are raised before training starts.
        ImportError: if scikit-learn or SciPy is not installed.
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
    >>> training = kreg.selection.Training(96, batch_size=None)
    >>> result = kreg.compare(
    ...     build_model, (x, y), [None, kreg.L1], training=training,
    ...     strengths=[1.0, 0.3], folds=2, test=0.2)
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
    require_extra("compare", "sklearn", "scipy")
    named = named_penalties(penalties)
    rule = checked_select(select)
    all_seeds = checked_seeds(seeds)
    rows = training_data(
        data,
        test,
        all_seeds[0],
        argument="test",
        needs_rows="folds are made of rows",
    )
    folds = checked_folds(folds)
    folds_by_seed = {s: folds_of(rows.train, folds, s) for s in all_seeds}
    grids = grids_by_name(strengths, named)
    training = checked_training(training)
    execution = checked_execution(execution)
    model = refuse_bad_models(
        build_model, named, rows.train, training.monitor, all_seeds[0]
    )
    model_architecture = architecture(model)
    refuse_what_cannot_be_sent(
        execution.executor,
        build_model=build_model,
        penalties=list(named.values()),
    )
    run = ComparisonRun(
        build_model=OneArchitecture(build_model, model_architecture),
        train=rows.train,
        penalties=named,
        folds=folds_by_seed,
        strengths=grids,
        training=training,
        linear=is_linear(model),
        execution=execution,
    )
    run.claim_directory(model_architecture)
    return finished_comparison(run, rule, rows.validation)
