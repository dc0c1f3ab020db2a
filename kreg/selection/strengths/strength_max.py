"""`strength_max`: the strength above which a penalty makes everything zero."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._arguments import built_model
from kreg.regularizers import L1
from kreg.regularizers.grouping import Grouping
from kreg.selection.data.rows import checked_part
from kreg.selection.strengths.kinks import least_slope
from kreg.selection.strengths.null_model import (
    PenalizedWeight,
    gradients_by_id,
    penalized_weights,
    strength_at_zero,
)
from kreg.selection.strengths.penalty_family import (
    PenaltyChoice,
    PenaltyFamily,
    penalty_family,
)
from kreg.selection.strengths.row_losses import row_losses
from kreg.selection.training.gradient import DataGradient
from kreg.selection.training.inputs import is_linear
from kreg.selection.training.models import values_of
from kreg.tensorflow_messages import without_retracing_alarm

# A strength that zeroes every entry, unless its factor is tiny.
_HUGE = 1e30
_HALVINGS = 40
_LONG = 1e6
# A strength is rounded up by this many units in the last place, so that all
# weights stay at zero despite rounding in training.
_ROUNDING_UP = 4.0
# For a penalty that makes no zeros: the fraction of a weight's size left at the
# largest strength of a grid. It is larger in a network, where shrinking one
# layer weakens the gradients of the others.
_LEFT_IF_LINEAR, _LEFT_IN_NETWORKS = 0.1, 0.5


@without_retracing_alarm()
def strength_max(
    model: keras.Model, data: Any, penalty: PenaltyChoice = L1
) -> float:
    """The smallest strength at which a penalty keeps everything at zero.

    It is the natural upper end of a grid of strengths. Good strengths differ by
    orders of magnitude between data sets and losses. As fractions of this
    strength they differ much less.

    A model with one kernel is linear in it, and the result is exact. It is the
    strength at which zero is a fixed point of the proximal step at the null
    model, where all penalized weights are zero and all others are fitted, such
    as biases and entries with a factor of 0. If the loss has several minima by
    these, the search from their present values decides which one counts. For
    `kreg.L1` the result is the largest absolute entry of the gradient of the
    data loss there, divided by its factor. If the loss has kinks, as `"mae"`
    and `"hinge"` have, rows on a kink leave a choice of gradients, of which the
    smallest counts. It is found by a linear program if SciPy is installed, the
    last layer is the dense layer with the kernel, with at most 8 outputs, and
    the loss of a row is a sum over these. Otherwise, as under
    `"categorical_hinge"`, the result may be far too high if many rows lie on a
    kink at the null model. Existing penalties of the model are ignored.

    In a network the gradients of inner kernels vanish at the null model, so
    zero is a fixed point at any strength. There the result is a scale, not a
    bound. Each penalized weight has a strength at which it would stay zero if
    it alone were set to zero. The result is the smallest of these among the
    weights that the network needs, those whose zeroing raises the data loss by
    at least half of the largest such rise. (The largest strength would only
    reflect normalization layers, which multiply gradients at zero by up to
    `epsilon ** -0.5`.) So pass a trained model; an untrained one does not show
    which weights it needs.

    Along paths of seven networks on digits (dense, deep, convolutional,
    residual, attention, batch and layer normalization; `kreg.L1`, 15 epochs of
    Adam at each of 12 strengths), accuracy fell by 5 points at fractions
    between 0.08 and 0.3 of this strength. At the strength itself two networks
    failed, and the others were at 51 % to 85 %.

    Args:
        model: a compiled and built `keras.Model`, which is not changed.
        data: the training data: arrays `(x, y)` or `(x, y, sample_weight)`, or
            an iterable of batches. For a linear model they are read many times.
            For a network 4096 rows are used: spread evenly over arrays, or the
            first ones of an iterable.
        penalty: a function `strength -> penalty`, such as `kreg.GroupLasso`
            or `lambda s: kreg.L1L2(s, 1e-4)`, which acts on all kernels; or a
            pair of such a function and a selector of other weights, as in
            `kreg.attach`. Defaults to `kreg.L1`.

    Returns:
        A float. It is 0.0 if nothing pulls the penalized weights away from
        zero, for example if all targets are the same or all inputs are zero.

    Raises:
        TypeError: if `model` is not a model, or `penalty` is not a penalty.
        ValueError: if the model is not built or not compiled, or the penalty
            makes nothing zero, such as `kreg.L2`, or acts on no weight; if
            data are so far from zero that the gradient is nothing but rounding,
            or no minimum of the loss is found at the null model.

    Example:

    >>> import keras, kreg, numpy
    >>> x = numpy.array([[1.0, 2.0], [-1.0, 0.0], [0.0, -2.0]])
    >>> y = numpy.array([[3.0], [0.0], [0.0]])  # centred: 2, -1, -1
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> round(kreg.strength_max(model, (x, y)), 4)  # 2 * max(3, 6) / 3
    4.0

    References:
        Friedman, Hastie and Tibshirani, "Regularization Paths for Generalized
        Linear Models via Coordinate Descent", Journal of Statistical Software
        33(1), 2010, section 2.5.
    """
    built_model(model)
    if not model.compiled:
        raise ValueError(
            "`model` must be compiled, because its loss is needed. "
            f"Received: model={model!r}"
        )
    family = penalty_family(penalty)
    train = checked_part("data", data)
    _refuse_no_weights(model, family)
    largest = largest_zeroing_strength(model, train, family)
    if largest is None:
        raise ValueError(
            "`penalty` must make weights zero at some strength, as `kreg.L1` "
            f"and `kreg.GroupLasso` do. Received: {family.text}"
        )
    _refuse_unknown(largest)
    return largest


def top_of_grid(
    model: keras.Model,
    train: Any,
    family: PenaltyFamily,
    largest: float | None,
) -> float:
    """The largest strength of a grid.

    Args:
        model: a compiled model.
        train: the training data.
        family: the penalty.
        largest: the result of `largest_zeroing_strength`.

    Raises:
        ValueError: if the penalty acts on no weight, or nothing pulls the
            weights away from zero, or the largest strength is unknown.
    """
    _refuse_no_weights(model, family)
    if largest is None:
        largest = _largest_shrinking_strength(model, train, family)
    _refuse_unknown(largest)
    if largest == 0.0:
        raise ValueError(
            "`data` leave nothing to select, so no grid of strengths can be "
            "chosen: with the penalized weights at zero and the others fitted, "
            "the loss is at its minimum. This happens if all targets are the "
            "same, all inputs are zero, or there is a single row. Use other "
            "data, or pass the strengths yourself. Received: data for which "
            "the largest strength is 0"
        )
    return largest


def _refuse_unknown(largest: float) -> None:
    if math.isnan(largest):
        raise ValueError(
            "`data` are so far from zero that the gradient is nothing but "
            f"rounding in {keras.config.floatx()}, or no minimum of the loss "
            "was found where the penalized weights are zero, so the largest "
            "strength is unknown. Standardize inputs and targets, for example "
            "with `sklearn.preprocessing.StandardScaler`, begin with other "
            "biases, or pass the strengths yourself. Received: data whose "
            "largest strength is unknown"
        )


def _refuse_no_weights(model: keras.Model, family: PenaltyFamily) -> None:
    if all(weight.spared.all() for weight in penalized_weights(model, family)):
        raise ValueError(
            "`penalty` must act on a trainable weight, but it is on none, or "
            f"its `factors` are all 0. Received: {family.text}"
        )


def largest_zeroing_strength(
    model: keras.Model, train: Any, family: PenaltyFamily
) -> float | None:
    """`strength_max` of training data.

    Returns:
        A float; None if no weight can become zero; NaN if unknown.
    """
    weights = penalized_weights(model, family)
    if not any(_makes_zeros(family, weight) for weight in weights):
        return None

    def strength_of(
        _: DataGradient, weight: PenalizedWeight, slope: NDArray[Any]
    ) -> float:
        return _zeroing_strength(family, -slope, weight.groups)

    def least(
        gradient: DataGradient,
        weight: PenalizedWeight,
        slope: NDArray[Any],
        rows: Any,
    ) -> NDArray[Any]:
        variable, loss = weight.variable, gradient.loss
        losses = row_losses(gradient.model, variable, rows, loss)
        if losses is None:
            return slope
        norms, groups = _norms_kept_at_zero(family, weight)
        found = least_slope(losses, slope, norms, groups)
        return slope if found is None else found

    eps = float(np.finfo(keras.config.floatx()).eps)
    largest = strength_at_zero(model, train, weights, strength_of, least)
    return largest * (1.0 + _ROUNDING_UP * eps)


def _largest_shrinking_strength(
    model: keras.Model, train: Any, family: PenaltyFamily
) -> float:
    """The largest strength of a grid for a penalty that makes nothing zero.

    It is the strength that shrinks a weight to 10 % of its size without a
    penalty, or to half of it in a network. It is computed from the curvature of
    the data loss along its gradient.

    Returns:
        A float; 0.0 if nothing pulls any weight away from zero; NaN if unknown.
    """
    left = _LEFT_IF_LINEAR if is_linear(model) else _LEFT_IN_NETWORKS

    def strength_of(
        gradient: DataGradient, weight: PenalizedWeight, slope: NDArray[Any]
    ) -> float:
        size = float(np.linalg.norm(slope))
        if size == 0.0:
            return 0.0
        variable = weight.variable
        (start,) = values_of([variable])
        length = 1e-2 * size / max(1.0, size)
        variable.assign(start - length / size * slope)
        after = weight.only_penalized(gradients_by_id(gradient)[id(variable)])
        variable.assign(start)
        bend = abs(float(np.sum((slope - after) * slope))) / size / length
        # Use a long vector, for which constant parts of the penalty are
        # negligible.
        before = _LONG / size * slope
        shrunk = family.shrunk(before, 1.0, weight.groups)
        left_over = float(np.sum(before * shrunk))
        pull = float(np.sum(before * (before - shrunk))) / left_over
        return bend * (1.0 / left - 1.0) / pull

    weights = penalized_weights(model, family)
    return strength_at_zero(model, train, weights, strength_of)


def _makes_zeros(family: PenaltyFamily, weight: PenalizedWeight) -> bool:
    ones = np.ones(weight.spared.shape)
    return bool((family.shrunk(ones, _HUGE, weight.groups) == 0.0).any())


def _norms_kept_at_zero(
    family: PenaltyFamily, weight: PenalizedWeight
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The largest norm of each entry's group that the strength 1 zeroes.

    It is the norm of a group whose penalized entries are all alike.

    Returns:
        The norms, 0 for entries that are fitted, and the number of the group.
    """
    shape, groups = weight.spared.shape, weight.groups
    numbers = np.arange(weight.spared.size).reshape(shape)
    if groups is not None:
        rows = np.arange(groups.count)[:, None].repeat(groups.size, axis=1)
        numbers = np.asarray(
            ops.convert_to_numpy(groups.from_rows(rows, shape)), "int64"
        )
    ones = (~weight.spared).astype("float64")
    low, high = np.full(shape, -15.0), np.full(shape, 15.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        after = family.shrunk(ones * 10.0**middle, 1.0, groups)
        moved = np.bincount(numbers.ravel(), np.abs(after).ravel())[numbers]
        low = np.where(moved > 0.0, low, middle)
        high = np.where(moved > 0.0, middle, high)
    sizes = np.bincount(numbers.ravel(), ones.ravel())[numbers]
    return ones * np.sqrt(sizes) * 10.0**high, numbers


def _zeroing_strength(
    family: PenaltyFamily, pull: NDArray[Any], groups: Grouping | None
) -> float:
    """The smallest strength whose proximal step makes `pull` zero.

    It is 0.0 if there is no pull, or only on entries that no strength zeroes.
    """

    def left(strength: float) -> NDArray[Any]:
        return family.shrunk(pull, strength, groups)

    size = float(np.abs(pull).max(initial=0.0))
    if size == 0.0 or not math.isfinite(size):
        return 0.0
    pull = np.where(left(_HUGE) == 0.0, pull, 0.0)
    low, high = 0.0, float(np.abs(pull).max())
    if high == 0.0:
        return 0.0
    while left(high).any():
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if left(middle).any() else (low, middle)
    return high
