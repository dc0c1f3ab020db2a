"""`path`: trains a model along a path of strengths, with warm starts."""

import os
from collections.abc import Callable
from typing import Any

import keras

from kreg._arguments import nonnegative_integer
from kreg.selection.data.rows import training_data
from kreg.selection.execution.execution import (
    checked_directory,
    checked_verbose,
)
from kreg.selection.moved_arguments import names_moved_arguments
from kreg.selection.paths.result import PathResult
from kreg.selection.paths.task import PathTask
from kreg.selection.strengths.grid import Strengths, strength_grid
from kreg.selection.strengths.penalty_family import PenaltyChoice
from kreg.selection.training.training import Training, checked_training


@names_moved_arguments
def path(
    build_model: Callable[[], keras.Model],
    data: Any,
    penalty: PenaltyChoice,
    strengths: Strengths = "auto",
    *,
    training: Training,
    validation: Any = None,
    directory: str | os.PathLike[str] | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> PathResult:
    """Train a model at many strengths, each from where the last one ended.

    Use it to see what a penalty costs and gains, and how strong it should be.
    A warm start takes far fewer updates than training from scratch: each point
    starts from the weights of the last one. With 32 epochs or more, these may
    first be extrapolated along the line through the last two points, all the
    way to the next strength or half of it, if the loss with the penalty is
    lower there. (The check takes three passes over the data.) One compiled
    model is used for all strengths.

    A model with hidden layers goes from weak to strong, because zeroed weights
    do not come back easily. If kreg chooses the strengths, the model is first
    trained without the penalty. A linear model goes from strong to weak and
    starts at zero, as in glmnet.

    `kreg.selection.Training` defines when training at a strength ends. The
    state of the optimizer is kept from point to point, and its learning rate
    schedule continues. With `refit` a second model is compiled for all points;
    on JAX, one for each point.

    Keras's random seed is set to `seed` when a model is built. The order of the
    rows depends only on `seed` and on the number of the point. If `training`
    has `patience`, validation data decide when to stop; otherwise they have no
    influence.

    Args:
        build_model: a function without arguments that returns a new model,
            built and compiled. Its optimizer is put into a
            `kreg.ProximalOptimizer` if it takes no proximal steps.
        data: the training data: `(x, y)` or `(x, y, sample_weight)`, arrays or
            structures of them, or an iterable of batches as for `fit`.
        penalty: a function `strength -> penalty`, such as
            `lambda s: kreg.L1L2(s, 1e-4)`, or a class, such as `kreg.L1` or
            `kreg.L1L2`, whose strengths are then all equal. It acts on all
            kernels. For other weights, pass a pair of the penalty and a
            selector, as in `kreg.attach`, or a list of selectors.
        strengths: an iterable of different numbers >= 0, a
            `kreg.selection.StrengthGrid`, or `"auto"`, the default: a grid of
            30 strengths, the largest of which makes everything zero.
        training: a `kreg.selection.Training`: how a model is trained at each
            strength, and by which metric strengths are compared.
        validation: the data on which points are evaluated: in the forms of
            `data`, or a fraction in (0, 1) of its rows, drawn once by `seed`,
            and stratified by class. Defaults to `None`: no validation data.
        directory: a folder for finished points. If the process ends, the same
            call continues after the last finished point, with the same result
            as without the interruption. It is not checked that an iterable of
            batches is still the same. Defaults to `None`: nothing is saved.
        seed: int >= 0. Defaults to `0`.
        verbose: 0 or 1, whether to show progress on a terminal. Defaults to
            `1`.

    Returns:
        A `kreg.selection.PathResult`, with a point for each strength and the
        weights of each.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; if data are empty, hold
            NaN, or a part has a single class; if `build_model` returns one
            model twice, or one that is not built or compiled, or one with the
            optimizer or trainable weights of an earlier one; if `directory`
            belongs to another path; if `strengths` are a grid and the data
            leave nothing to select. All errors are raised before training
            starts, except that the last one may come after a network is trained
            without the penalty.

    Example:

    >>> import keras, kreg, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(100, 4))
    >>> y = 3.0 * x[:, :1] - x[:, 1:2]  # the other two are not needed
    >>> def build_model():
    ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    ...     return model
    >>> training = kreg.selection.Training(1000, batch_size=None)
    >>> result = kreg.path(build_model, (x, y), kreg.L1, [4.0, 1.0, 0.1],
    ...                    training=training)
    >>> [point.selected_inputs for point in result.points]
    [(0,), (0, 1), (0, 1)]

    References:
        Friedman, Hastie and Tibshirani, "Regularization Paths for Generalized
        Linear Models via Coordinate Descent", Journal of Statistical Software
        33(1), 2010. Park and Hastie, "L1-regularization path algorithm for
        generalized linear models", Journal of the Royal Statistical Society B
        69(4), 2007, for the extrapolation. Lemhadri, Ruan, Abraham and
        Tibshirani, "LassoNet", Journal of Machine Learning Research 22, 2021,
        for paths from dense to sparse.
    """
    seed = nonnegative_integer("seed", seed)
    checked_verbose(verbose)
    task = PathTask(
        build_model=build_model,
        data=training_data(data, validation, seed),
        penalty=penalty,
        strengths=strength_grid(strengths),
        training=checked_training(training),
        seed=seed,
        directory=checked_directory(directory),
    )
    return task.run(verbose)
