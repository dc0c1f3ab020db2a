"""A model at one strength after the other."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras

from kreg._arguments import nonnegative_number, positive_integer
from kreg.selection.data.rows import training_data
from kreg.selection.paths.checkpoints import Checkpoints
from kreg.selection.paths.result import PathResult
from kreg.selection.paths.run import PathRun
from kreg.selection.strengths.grid import (
    checked_direction,
    checked_grid,
    checked_strengths,
)
from kreg.selection.strengths.penalty_family import penalty_family
from kreg.selection.training.inputs import is_linear
from kreg.selection.training.models import (
    architecture,
    new_model,
    refuse_other_architecture,
)
from kreg.selection.training.point import Settings


@dataclass(frozen=True)
class Unpenalized:
    """In place of strengths: training without any, as long as with them.

    A linear model is trained to the minimum, with as many passes at most as
    a path makes at all its points. Of a network the minimum may fit noise, so
    it is trained in portions, each of which is a point of its own.

    Args:
        points: int, the points of the longest path.
        portions: int, how many portions a network is trained for.
    """

    points: int
    portions: int

    def up_to(self, number: int) -> "Unpenalized":
        """The first portions of a network; a linear model has one."""
        return replace(self, portions=number)

    def strengths(self, linear: bool) -> list[float]:
        """The strength of each point."""
        return [0.0] * (1 if linear else self.portions)

    def epochs(self, epochs: int, linear: bool) -> int:
        """How many passes a point may make, where a path's may `epochs`."""
        return epochs * self.points if linear else epochs


def unpenalized_beside(
    grids: Mapping[str, Sequence[float]], penalties: Mapping[str, Any]
) -> Unpenalized:
    """What no penalty is given beside the paths of penalties.

    Args:
        grids: the strengths of each penalty, by name.
        penalties: the penalties; None for no penalty.
    """
    longest = max(
        len(grids[name]) if penalty is not None else 1
        for name, penalty in penalties.items()
    )
    return Unpenalized(longest, longest)


_ALARM = "triggered tf.function retracing"


@contextmanager
def without_retracing_alarm() -> Iterator[None]:
    """Silence it: each path has a model of its own, which is traced once.

    TensorFlow counts by the place in the code where a function was made, and
    so takes the train steps of many models for one.
    """
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_alarm)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_alarm)


def _is_no_alarm(record: logging.LogRecord) -> bool:
    return _ALARM not in record.getMessage()


def path(
    build_model: Callable[[], keras.Model],
    data: Any,
    penalty: Any,
    strengths: Any = "auto",
    *,
    epochs: int,
    num_strengths: int = 30,
    ratio: float = 1e-3,
    direction: str = "auto",
    batch_size: int | None = 32,
    validation_data: Any = None,
    validation_split: float = 0.0,
    tolerance: float | None = 1e-4,
    patience: int | None = None,
    refit: bool = False,
    monitor: str = "data_loss",
    directory: str | Path | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> PathResult:
    """Train a model at many strengths, each from where the last one ended.

    Choose it to see what a penalty costs and what it brings, and how strong it
    should be: a strength beside one that is solved takes far fewer updates than
    one from scratch. A point begins where the last one ended. With `epochs` of
    32 or more, of which three passes are a small part, it begins where the line
    through the last two points leads, or on half of that way, if the loss with
    the penalty is lower there. One compiled model serves all strengths.

    A model with hidden layers goes from weak to strong: it is trained without
    the penalty first if `strengths` are chosen here, and weights that are lost
    do not come back easily. A linear model goes from strong to weak, from zero
    on, as glmnet does.

    At each strength training goes on until a minimum, as `tolerance` tells, or
    until `patience` is spent, or for `epochs` passes. Whether it looks close
    enough is asked after each pass, or about every 32 updates where passes are
    shorter. A minimum can be told only with an optimizer that keeps an average
    of gradients (SGD with momentum, Adam, AdamW, Nadam, Adamax), and with
    batches as large as the data, or nearly: the noise of smaller ones stays
    above the tolerance. For linear models, SGD with momentum and all rows in a
    batch comes closest to exact solutions. What the optimizer remembers goes
    on from point to point, its learning rate schedule too.

    Keras's random seed is set to `seed` when a model is built. The order of the
    rows depends on `seed` and the number of the point alone. Validation data
    decide when to stop, if `patience` is given, and nothing else.

    Args:
        build_model: a function without arguments that returns a new model,
            built and compiled. Its optimizer is put into a
            `kreg.ProximalOptimizer` if it takes no proximal steps.
        data: the training data: `(x, y)` or `(x, y, sample_weight)` of arrays
            or structures of them, or an iterable of batches as `fit` takes it.
        penalty: a class, such as `kreg.L1` or `kreg.L1L2`, all of whose
            strengths are equal then, or a function `strength -> penalty`, such
            as `lambda s: kreg.L1L2(s, 1e-4)`; or a pair of one of these and a
            selector, as of `kreg.attach`, or a list of selectors, of the
            weights it goes on. Alone it goes on all kernels.
        strengths: an iterable of different numbers >= 0, or `"auto"`, the
            default: a geometric grid below the strength above which everything
            is zero, as `kreg.strength_max` tells. For a penalty that makes
            nothing zero the largest one leaves about 10 % of what the data
            want of a weight, or half of it in a network.
        epochs: int, how many passes over the data are made at each strength at
            most.
        num_strengths: int, the number of strengths of the grid. Defaults to
            `30`.
        ratio: float in (0, 1), the smallest strength of the grid over the
            largest. Defaults to `1e-3`.
        direction: `"up"`, from weak to strong, `"down"`, or `"auto"`, the
            default: down if one kernel is all there is, else up.
        batch_size: int, the rows of a batch; None for all. Not for an
            iterable. Defaults to `32`.
        validation_data: in the forms of `data`. Defaults to `None`.
        validation_split: float in [0, 1), the fraction of the rows to validate
            on where there are no `validation_data`; drawn once by `seed`, in
            the proportions of the classes. Defaults to `0.0`.
        tolerance: float >= 0, at which optimality residual to stop, as a
            fraction of the norm of the gradient at the first weights; None for
            none. Defaults to `1e-4`.
        patience: int, how many looks in a row may bring no better `monitor`
            on the validation data, or loss without any, before training
            stops. Defaults to `None`: any number.
        refit: bool, whether the figures and weights of a point are those after
            training on without the penalty, its zeros fixed, until a minimum
            or for `epochs` passes. The path goes on from the weights before.
            All are compiled once, on JAX each. Defaults to `False`.
        monitor: str, the metric by which points are compared. Defaults to
            `"data_loss"`.
        directory: a folder for finished points. If the process ends, the same
            call goes on after the last one, to the same result as without an
            end. Of an iterable of batches, nobody sees whether it is the same.
            Defaults to `None`: nothing is kept.
        seed: int >= 0. Defaults to `0`.
        verbose: 0 or 1, whether to show progress on a terminal. Defaults to
            `1`.

    Returns:
        A `kreg.selection.PathResult`, with a point for each strength and the
        weights of each.

    Raises:
        TypeError: if an argument is of no allowed kind.
        ValueError: if one has no allowed value; if data are empty, hold NaN,
            or a part has one class alone; if `build_model` returns a model
            twice, or one that is not built or compiled, or one with the
            optimizer or trainable weights of an earlier one; if `directory`
            holds another path. All before training starts.

    Example:

    >>> import keras, kreg, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(100, 4))
    >>> y = 3.0 * x[:, :1] - x[:, 1:2]  # the other two are not needed
    >>> def build_model():
    ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    ...     return model
    >>> result = kreg.path(build_model, (x, y), kreg.L1, [4.0, 1.0, 0.1],
    ...                    epochs=1000, batch_size=None)
    >>> [point.selected_inputs for point in result.points]
    [(0,), (0, 1), (0, 1)]

    References:
        Friedman, Hastie and Tibshirani, "Regularization Paths for Generalized
        Linear Models via Coordinate Descent", Journal of Statistical Software
        33(1), 2010. Park and Hastie, "L1-regularization path algorithm for
        generalized linear models", Journal of the Royal Statistical Society B
        69(4), 2007, for where a point begins. Lemhadri, Ruan, Abraham and
        Tibshirani, "LassoNet", Journal of Machine Learning Research 22, 2021,
        for paths from dense to sparse.
    """
    grid = checked_grid(num_strengths, ratio)
    given = None
    if not isinstance(strengths, Unpenalized):
        given = checked_strengths(strengths)
    towards = checked_direction(direction)
    family = penalty_family(penalty)
    settings = Settings(
        epochs=positive_integer("epochs", epochs),
        batch_size=_optional(positive_integer, "batch_size", batch_size),
        tolerance=_optional(nonnegative_number, "tolerance", tolerance),
        patience=_optional(positive_integer, "patience", patience),
        monitor=monitor,
        seed=_checked_seed(seed),
    )
    parts = training_data(data, validation_data, validation_split, seed)
    model = new_model(build_model, seed)
    linear = is_linear(model)
    if isinstance(strengths, Unpenalized):
        given = strengths.strengths(linear)
        settings = replace(settings, epochs=strengths.epochs(epochs, linear))
    if towards == "auto":
        towards = "down" if linear else "up"
    if towards == "down" and given is None and not linear:
        raise ValueError(
            '`direction` must be "up" or "auto" for a model with hidden layers '
            "whose strengths are not given: from zero its inner weights never "
            "leave. Received: direction='down'"
        )
    known = architecture(model)
    identity = {
        "penalty": family.text,
        "strengths": given,
        "grid": None if given is not None else list(grid),
        "direction": towards,
        "settings": asdict(settings),
        "refit": refit,
        "data": parts.fingerprint(),
        "architecture": known,
    }
    store = Checkpoints(directory, identity)
    twin = new_model(build_model, seed) if refit else None
    if twin is not None:
        refuse_other_architecture(known, twin)
    run = PathRun(model, twin, family, settings, parts, store)
    with without_retracing_alarm():
        run.prepare(given, grid, towards)
        return run.result(verbose)


def _checked_seed(seed: Any) -> int:
    if seed == 0 and not isinstance(seed, bool):
        return 0
    return positive_integer("seed", seed)


def _optional(check: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    return None if value is None else check(name, value)
