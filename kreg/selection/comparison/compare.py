"""`compare`: which penalty, and how strong, by cross-validation."""

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
        ValueError: if there is none, or one is there twice or below 0.
    """
    items = list_of("seeds", seeds, "an iterable of integers")
    numbers = tuple(integer("seeds", seed) for seed in items)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError(
            "`seeds` must hold different integers of at least 0, one at "
            f"least. Received: seeds={items!r}"
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

    Choose it to decide between no penalty, L1, L2 or both, and how strong. For
    each penalty, fold and seed it runs one path, as `kreg.path` does. All
    penalties see the same rows and start from the same initial weights. The
    strengths of a penalty are the same in all folds. Then the chosen penalty
    is trained on all training data, up to the chosen strength, and evaluated
    on the test data once.

    A strength is chosen by the monitored metric on the rows that a fold leaves
    out, in the mean over folds. `select` names the rule:

    - `"one_standard_error"`: the largest strength whose mean is within one
      standard error of the best. Among penalties, the sparsest at its chosen
      strength whose mean is within one standard error of the best of all;
    - `"best"`: the strength with the best mean;
    - a sparsity: the smallest strength whose mean sparsity reaches it; if none
      does, the sparsest.

    Training without a penalty may make as many passes as the longest path, so
    that no penalty wins by longer training alone. A linear model is trained
    until the minimum, as `tolerance` defines it. A network may fit more noise
    the longer it is trained, so it is judged after each `epochs` passes. The
    number of passes with the best mean over folds is chosen, and its row shows
    it.

    Two penalties are compared fold by fold, each at the strength that the
    *other* folds choose, so that many strengths to choose from are no
    advantage. The test is the corrected resampled t-test of Nadeau and Bengio.
    Folds share most of their training rows; the plain t-test ignores that and
    finds differences that are not there. Where several pairs are compared,
    p-values are adjusted after Holm. The intervals of the differences have the
    levels that Holm asks for, so an interval leaves out 0 exactly where a
    difference is significant. "No significant difference" is an outcome: few
    folds of few rows often show no more.

    The means of `rows` at the chosen strengths are a little too good, because
    the strengths were chosen by these means. The test figures are not, as long
    as nothing is chosen because of them. With `patience`, the rows that a fold
    leaves out also decide when to stop; the training on all data then stops by
    its own loss. With `tolerance` alone, they influence no weight.

    If `build_model` computes something from data beforehand, such as an
    adapted `keras.layers.Normalization`, the rows that folds leave out have
    leaked into it.

    Args:
        build_model: a function without arguments that returns a new model,
            built and compiled, as of `kreg.path`.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays or structures of
            them. A dataset is refused, because rows cannot be left out of it.
        penalties: a mapping from names to penalties as of `kreg.path`, such as
            `{"L1": kreg.L1, "elastic": lambda s: kreg.L1L2(s, 1e-4)}`, with
            None for no penalty; or an iterable of such penalties, named by
            themselves. Defaults to `None`: none, `L1`, `L2`, `L1L2` with equal
            strengths, and `GroupLasso`.
        training: a `kreg.selection.Training`: how a model is trained at each
            strength, and by which metric all are compared.
        strengths: an iterable of different numbers >= 0, or a
            `kreg.selection.StrengthGrid`, for all penalties; or a mapping from
            the names of penalties to such strengths. A penalty that the
            mapping lacks, or `"auto"`, the default, gets a grid as of
            `kreg.path`, from all training data.
        folds: int >= 2, how many folds, or an iterable of pairs of row indices
            `(train, validation)`, such as scikit-learn's splitters give.
            Defaults to `5`. Classes are spread evenly over folds.
        seeds: an iterable of ints >= 0. Each seed has its own folds (unless
            `folds` are pairs), initial weights and orders of the rows.
            Defaults to `(0,)`.
        test: what to evaluate the chosen model on: data in the forms of
            `data`, an iterable of batches such as a `tf.data.Dataset`, or a
            fraction in (0, 1) of `data`, which the first seed sets aside
            before anything else. Defaults to `None`: no test.
        select: the rule that chooses. Defaults to `"one_standard_error"`.
        execution: a `kreg.selection.Execution`: where paths run, in which
            folder they are kept, and whether progress is shown. Defaults to
            `Execution()`: in this process, kept nowhere, shown on a terminal.

    Returns:
        A `kreg.selection.CompareResult`. Print it for a table.

    Raises:
        TypeError: if an argument has another type, or cannot be sent to the
            processes of the executor.
        ValueError: if an argument is out of its range; if data are empty, hold
            NaN or differ in their numbers of rows; if there are fewer rows
            than folds, or a fold is trained on a single class; if
            `build_model` returns one model twice, models of several
            architectures, or models that share an optimizer or trainable
            weights; if the folder belongs to another comparison. All errors
            come before training starts.
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
