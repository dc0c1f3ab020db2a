"""`strength_max`: the strength above which a penalty keeps all at zero."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._arguments import built_model
from kreg.layers.weights import layouts_of
from kreg.regularizers import L1
from kreg.regularizers.grouping import Grouping
from kreg.selection.data.rows import training_data
from kreg.selection.strengths.null_model import (
    gradients_by_id,
    strength_at_zero,
)
from kreg.selection.strengths.penalty_family import (
    PenaltyChoice,
    PenaltyFamily,
    penalty_family,
)
from kreg.selection.training.gradient import DataGradient
from kreg.selection.training.inputs import is_linear
from kreg.surgery.owned_weights import owned_weights
from kreg.surgery.rules import assignments_of
from kreg.tensorflow_messages import without_retracing_alarm

Groups = Mapping[int, Grouping | None]
_WIDEST = 100
_HALVINGS = 40
# The fraction of a weight that is left at the top of a grid, for a penalty that
# makes no zeros. It is larger in a network, where shrinking one layer weakens
# the gradients of the others.
_LEFT_IF_LINEAR, _LEFT_IN_NETWORKS = 0.1, 0.5


@without_retracing_alarm()
def strength_max(
    model: keras.Model, data: Any, penalty: PenaltyChoice = L1
) -> float:
    """The smallest strength at which a penalty keeps everything at zero.

    It is the natural upper end of a grid of strengths. Good strengths differ by
    orders of magnitude between data sets and losses. As fractions of this one
    they differ much less.

    A model with one kernel is linear in it, and the result is exact. It is the
    strength at which zero is a fixed point of the proximal step at the null
    model: the penalized weights are zero, and the others, such as the bias, are
    fitted. For `kreg.L1` it is the largest absolute entry of the gradient of
    the data loss there.

    In a network the gradients of inner kernels vanish at the null model, so
    zero is a fixed point at any strength. There the result is a scale, not a
    bound. Each penalized weight has a strength at which it would stay zero if
    it alone were set to zero. The result is the smallest of these among the
    weights that the network needs: setting one of them to zero raises the data
    loss at least half as much as the worst one does. (The largest would only
    show normalization layers, which multiply gradients at zero by up to
    `epsilon ** -0.5`.) So give a trained model; an untrained one does not show
    which weights it needs.

    Along paths of seven networks on digits (dense, deep, convolutional,
    residual, attention, batch and layer normalization; `kreg.L1`, 15 epochs of
    Adam at each of 12 strengths), accuracy fell by 5 points at fractions
    between 0.08 and 0.3 of this strength. At the strength itself two networks
    were lost, and the others were at 51 % to 85 %.

    Args:
        model: a compiled and built `keras.Model`. Left as it is.
        data: the training data, `(x, y)` or `(x, y, sample_weight)` of arrays,
            or an iterable of batches. A linear model makes many passes over
            them. A network takes 4096 rows: spread over arrays, or the first
            ones of an iterable.
        penalty: a function `strength -> penalty`, such as `kreg.GroupLasso`
            or `lambda s: kreg.L1L2(s, 1e-4)`, which goes on all kernels; or a
            pair of such a function and a selector of other weights, as of
            `kreg.attach`. Defaults to `kreg.L1`.

    Returns:
        A float. Weights that the penalty never makes zero (factors of 0) do
        not count.

    Raises:
        TypeError: if `model` is not a model, or `penalty` not a penalty.
        ValueError: if the model is not built or not compiled, or the penalty
            makes nothing zero, such as `kreg.L2`.

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
            "`model` must be compiled, because that tells the loss. "
            f"Received: model={model!r}"
        )
    family = penalty_family(penalty)
    largest = largest_zeroing_strength(model, training_data(data).train, family)
    if largest is None:
        raise ValueError(
            "`penalty` must make weights zero at some strength, as `kreg.L1` "
            f"and `kreg.GroupLasso` do. Received: {family.text}"
        )
    return largest


def largest_zeroing_strength(
    model: keras.Model, train: Any, family: PenaltyFamily
) -> float | None:
    """`strength_max` of training data; None if nothing becomes zero."""
    chosen = penalized_weights(model, family)
    groups = _groups(model, chosen, family)

    def strength_of(
        _: DataGradient, variable: keras.Variable, slope: NDArray[Any]
    ) -> float | None:
        return _zeroing_strength(family, -slope, groups[id(variable)])

    return strength_at_zero(model, train, chosen, strength_of)


def largest_shrinking_strength(
    model: keras.Model, train: Any, family: PenaltyFamily
) -> float:
    """The top of a grid for a penalty that makes nothing zero.

    It is the strength that shrinks a weight to 10 % of its size without a
    penalty, or to half of it in a network. The curvature of the data loss along
    its gradient decides.
    """
    left = _LEFT_IF_LINEAR if is_linear(model) else _LEFT_IN_NETWORKS
    pull = 2.0 * max(family.strengths(1.0).values()) / (1.0 / left - 1.0)
    chosen = penalized_weights(model, family)

    def strength_of(
        gradient: DataGradient, variable: keras.Variable, slope: NDArray[Any]
    ) -> float | None:
        size = float(np.linalg.norm(slope))
        if size == 0.0:
            return None
        length = 1e-2 * size / max(1.0, size)
        variable.assign(-length / size * slope)
        after = gradients_by_id(gradient)[id(variable)]
        variable.assign(np.zeros_like(slope))
        bend = abs(float(np.sum((slope - after) * slope))) / size / length
        return bend / pull or None

    return strength_at_zero(model, train, chosen, strength_of) or 1.0 / pull


def penalized_weights(
    model: keras.Model, family: PenaltyFamily
) -> list[keras.Variable]:
    """The weights of a model that the penalty would go on."""
    penalty = family.penalty
    rules: Any = penalty
    if family.rules is not None:
        rules = [(rule, penalty) for rule in family.rules]
    return [
        assignment.weight.variable
        for assignment in assignments_of(rules, model, owned_weights(model))
        if assignment.weight.variable.trainable
    ]


def _groups(
    model: keras.Model, chosen: Sequence[keras.Variable], family: PenaltyFamily
) -> Groups:
    layouts = layouts_of(model)
    return {
        id(v): family.penalty.grouping(tuple(v.shape), layouts.get(id(v)))
        for v in chosen
    }


def _zeroing_strength(
    family: PenaltyFamily, pull: NDArray[Any], groups: Grouping | None
) -> float | None:
    """The smallest strength whose proximal step makes `pull` zero."""

    def left(strength: float) -> NDArray[Any]:
        after = family.penalty.proximal_step(
            ops.convert_to_tensor(pull),
            step,
            family.strengths(strength),
            groups,
        )
        return np.asarray(ops.convert_to_numpy(after))

    step = min(1.0, family.penalty.longest_step / 2.0)
    pull = step * pull
    size = float(np.abs(pull).max()) if pull.size else 0.0
    if size == 0.0 or not math.isfinite(size):
        return None
    # First drop the entries that no strength can zero (factor 0).
    pull = np.where(left(1e6 * size / step) == 0.0, pull, 0.0)
    size = float(np.abs(pull).max())
    if size == 0.0:
        return None
    low, high = 0.0, size / step
    for _ in range(_WIDEST):
        if not left(high).any():
            break
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if left(middle).any() else (low, middle)
    return high
