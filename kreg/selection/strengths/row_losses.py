"""`RowLosses`: the loss of each row as a function of a linear model's sums."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree
from numpy.typing import NDArray

from kreg._keras_private import weight_of_loss
from kreg.selection.data.batches import batches_of

Array = NDArray[Any]

_MOST_OUTPUTS, _ROWS_AT_ONCE = 8, 4096
# The maximum number of input entries: 256 MB.
_MOST_ENTRIES = 2**25
# The largest relative deviation from the loss of the model.
_SAME = 1e-4
# JAX computes in single precision unless a program says otherwise.
_IS_JAX = keras.backend.backend() == "jax"
_PRECISIONS = ("float32",) if _IS_JAX else ("float64", "float32")


@dataclass(frozen=True)
class RowLosses:
    """The loss of each row as a function of what a linear model sums.

    Args:
        inputs: the inputs of the dense layer, of shape (rows, inputs), followed
            by a 1 if it has a bias that is fitted.
        sums: what it makes of them before its activation, (rows, outputs).
        shares: the factor of each row's loss in the mean loss.
        of: a function of such sums that returns the loss of each row.
        resolution: the smallest relative change of a sum that it shows well.
    """

    inputs: Array
    sums: Array
    shares: Array
    of: Callable[[Array], Array]
    resolution: float


def row_losses(
    model: keras.Model, kernel: Any, train: Any, loss: float
) -> RowLosses | None:
    """The losses of single rows at the present weights.

    Args:
        model: a compiled model.
        kernel: its kernel.
        train: the training data.
        loss: the mean loss over all rows.

    Returns:
        None if they do not add up to `loss`, the last layer is not a dense
        one with this kernel, or the data are too large.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return None
    layer, given_losses = model.layers[-1], tree.flatten(model.loss)
    if (
        type(layer) is not layers.Dense
        or layer.kernel is not kernel
        or [id(output) for output in outputs] != [id(layer.output)]
        or len(layer.output.shape) != 2
        or layer.units > _MOST_OUTPUTS
        or len(given_losses) != 1
    ):
        return None
    before = keras.Model(model.inputs, layer.input, name="before")
    parts: list[tuple[Array, Array, Array]] = []
    entries = 0
    for (x, y, *weights), size in batches_of(train, _ROWS_AT_ONCE):
        inputs = before(tree.flatten(x), training=False)
        given = weights[0] if weights and weights[0] is not None else [1] * size
        parts.append(
            (_double(inputs), np.asarray(y), np.reshape(given, (size, -1)))
        )
        entries += parts[-1][0].size
        if entries > _MOST_ENTRIES:
            return None
    inputs, targets, shares = map(np.concatenate, zip(*parts, strict=True))
    sums = inputs @ _double(kernel)
    if layer.bias is not None:
        sums = sums + _double(layer.bias)
        if layer.bias.trainable:
            inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
    if targets.size == sums.size:
        targets = targets.reshape(sums.shape)
    loss_object = keras.losses.get(given_losses[0])
    function = getattr(loss_object, "call", loss_object)
    scale = weight_of_loss(model)
    if scale is None:
        return None
    reduction = getattr(loss_object, "reduction", None)
    if reduction == "sum":
        scale *= len(sums)
    elif reduction == "mean_with_sample_weight":
        scale /= float(np.mean(shares))

    def of(sums: Array, precision: str) -> Array:
        made = layer.activation(ops.convert_to_tensor(sums.astype(precision)))
        y = ops.convert_to_tensor(targets.astype(precision))
        return _double(function(y, made))

    for precision in _PRECISIONS:
        try:
            each = of(sums, precision)
        except Exception:  # a user's own loss may have constants of a precision
            continue
        if each.shape != (len(sums),) or shares.shape != (len(sums), 1):
            return None
        factors = np.asarray(shares[:, 0], "float64") * (scale / len(sums))
        if not abs(factors @ each - loss) <= _SAME * abs(loss):
            return None
        return RowLosses(
            inputs,
            sums,
            factors,
            partial(of, precision=precision),
            100.0 * float(np.finfo(precision).eps),
        )
    return None


def _double(tensor: Any) -> Array:
    return np.asarray(ops.convert_to_numpy(tensor), "float64")
