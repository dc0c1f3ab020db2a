"""The strength above which a penalty keeps everything at zero."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers, own_trainable_variables
from kreg.binding._layouts import layouts_of
from kreg.regularizers import L1
from kreg.regularizers._grouping import Grouping
from kreg.selection._data import training_data
from kreg.selection._data_gradient import DataGradient, data_gradient
from kreg.selection._null_biases import fit_unpenalized
from kreg.selection._penalty_family import PenaltyFamily, penalty_family
from kreg.statistics._built_model import refuse_unbuilt
from kreg.surgery._owned_weights import owned_weights
from kreg.surgery._rules import assignments_of

Groups = Mapping[int, Grouping | None]
_WIDEST = 100
_HALVINGS = 40
_LEFT = 0.1


def strength_max(model: keras.Model, data: Any, penalty: Any = L1) -> float:
    """The smallest strength at which a penalty keeps everything at zero.

    The natural upper end of a grid of strengths: data sets and losses differ by
    orders of magnitude in the strength that a model wants, fractions of this
    one much less.

    A model with one kernel is linear in it. There the answer is exact: with
    the gradient of the data loss at the null model, whose penalized weights
    are zero and whose others, such as the bias, are fitted to that, it is the
    strength at which zero is a fixed point of the proximal step. For
    `kreg.L1` it is the largest entry of the gradient.

    In a network the gradients of inner kernels vanish at the null model, so
    zero is a fixed point at any strength. There the answer is a scale, not a
    bound: for each penalized weight the strength at which it would stay zero
    if it alone were set to zero, and of these the largest. So give a trained
    model; of an untrained one it tells less. Along paths of two networks with
    one hidden layer nothing was left from fractions of it between 0.2 and 0.7
    on: 0.7 with `kreg.L1` and 0.5 with `kreg.GroupLasso` on digits (64-32-10,
    20 epochs at each strength), 0.3 and 0.2 on 5,000 rows of MNIST (784-64-10,
    30 epochs).

    Args:
        model: a compiled and built `keras.Model`. Left as it is.
        data: the training data, `(x, y)` or `(x, y, sample_weight)` of arrays,
            or an iterable of batches, which is read into memory.
        penalty: a function `strength -> penalty`, such as `kreg.GroupLasso`
            or `lambda s: kreg.L1L2(s, 1e-4)`, or a pair of such a function and
            a selector, as of `kreg.attach`, of the weights it goes on.
            Defaults to `kreg.L1`, on all kernels.

    Returns:
        A float. Weights that the penalty never makes zero (factors of 0) do
        not count.

    Raises:
        TypeError: if `model` or `penalty` is none.
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
    refuse_unbuilt(model)
    if not model.compiled:
        raise ValueError(
            "`model` must be compiled, because that tells the loss. "
            f"Received: model={model!r}"
        )
    family = penalty_family(penalty)
    found = largest_zeroing_strength(model, training_data(data).train, family)
    if found is None:
        raise ValueError(
            "`penalty` must make weights zero at some strength, as `kreg.L1` "
            f"and `kreg.GroupLasso` do. Received: {family.text}"
        )
    return found


def largest_zeroing_strength(
    model: keras.Model, train: Any, family: PenaltyFamily
) -> float | None:
    """`strength_max` of training data; None if nothing becomes zero."""
    chosen = penalized(model, family)
    groups = _groups(model, chosen, family)
    with data_gradient(model, train) as gradient:
        strengths = [
            _zeroing_strength(family, -of_weight, groups[id(variable)])
            for variable, of_weight in _gradients_at_zero(gradient, chosen)
        ]
    known = [s for s in strengths if s is not None]
    return max(known) if known else None


def largest_shrinking_strength(
    model: keras.Model, train: Any, family: PenaltyFamily
) -> float:
    """For a penalty that makes nothing zero: the top of a grid.

    The strength that shrinks a weight by its own pull to 10 % of what the data
    want, as the curvature of the data loss along its gradient tells.
    """
    chosen = penalized(model, family)
    found = []
    with data_gradient(model, train) as gradient:
        for variable, at_zero in _gradients_at_zero(gradient, chosen):
            size = float(np.linalg.norm(at_zero))
            if size == 0.0:
                continue
            length = 1e-2 * size / max(1.0, size)
            variable.assign(-length / size * at_zero)
            after = dict(_by_variable(gradient))[id(variable)]
            variable.assign(np.zeros_like(at_zero))
            bend = float(np.sum((at_zero - after) * at_zero)) / size / length
            found.append(abs(bend))
    curvature = max(found, default=1.0)
    slope = max(family.strengths(1.0).values())
    return curvature * (1.0 / _LEFT - 1.0) / (2.0 * slope)


def penalized(
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


def is_linear(model: keras.Model) -> bool:
    """Whether one kernel alone stands between inputs and outputs."""
    kernels = [
        variable
        for layer in flatten_layers(model)
        for variable in own_trainable_variables(layer)
        if variable.trainable and len(variable.shape) > 1
    ]
    return len({id(kernel) for kernel in kernels}) <= 1


def _groups(
    model: keras.Model, chosen: Sequence[keras.Variable], family: PenaltyFamily
) -> Groups:
    layouts = layouts_of(model)
    return {
        id(v): family.penalty.grouping(tuple(v.shape), layouts.get(id(v)))
        for v in chosen
    }


def _gradients_at_zero(
    gradient: DataGradient, chosen: Sequence[keras.Variable]
) -> Any:
    """Each weight, with the gradient where it is zero."""
    if is_linear(gradient.model):
        for variable in chosen:
            variable.assign(np.zeros(variable.shape))
        fit_unpenalized(gradient, chosen)
        found = dict(_by_variable(gradient))
        for variable in chosen:
            yield variable, found[id(variable)]
        return
    for variable in chosen:
        before = np.array(ops.convert_to_numpy(variable))
        variable.assign(np.zeros_like(before))
        yield variable, dict(_by_variable(gradient))[id(variable)]
        variable.assign(before)


def _by_variable(gradient: DataGradient) -> list[tuple[int, NDArray[Any]]]:
    variables = gradient.model.trainable_variables
    return [
        (id(variable), value)
        for variable, value in zip(variables, gradient(), strict=True)
    ]


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
    # In the first place whatever no strength makes zero does not count.
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
