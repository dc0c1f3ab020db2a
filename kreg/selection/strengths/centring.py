"""Centres inputs whose mean a bias absorbs; detects data far from zero."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, tree
from numpy.typing import NDArray

from kreg._keras_private import TracedGraph, operation_kind, traced_graph
from kreg.selection.data.batches import batches_of
from kreg.selection.data.rows import Arrays

Array = NDArray[Any]

# Layers and operations that only rearrange entries, or scale and shift them by
# constants.
_AFFINE_LAYERS = (
    layers.Identity,
    layers.Rescaling,
    layers.Normalization,
    layers.BatchNormalization,
    layers.GaussianNoise,
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.Concatenate,
)
_AFFINE_OPERATIONS = (
    *("Cast", "Concatenate", "ConvertToTensor"),
    *("ExpandDims", "Reshape", "Squeeze"),
)
_ROWS_AT_ONCE = 4096
# A relative rounding error of a gradient that is acceptable.
_NEGLIGIBLE = 1e-3


def centred(
    model: keras.Model, part: Any, penalized: Collection[int]
) -> tuple[Any, bool]:
    """Centre the inputs of the training data, if biases absorb their means.

    If only dense layers with a fitted bias read an input, the biases compensate
    for any shift of it. At the optimal biases, shifting does not change the
    gradients by other weights. But without centring, these gradients are sums
    of large terms that cancel, if inputs are far from zero. In single precision
    nothing but rounding may be left.

    Args:
        model: the model.
        part: the training data, arrays or an iterable of batches.
        penalized: the `id` of each variable that is not fitted.

    Returns:
        The data, with the inputs centred that can be, and whether all were.
    """
    if not _is_trained_as_usual(model):
        return part, False
    (example, *_), _ = next(batches_of(part, 1))
    leaves = tree.flatten(example)
    symbols = [
        keras.KerasTensor((2, *leaf.shape[1:]), leaf.dtype.name)
        for leaf in leaves
    ]
    try:
        inputs = tree.pack_sequence_as(example, symbols)
        graph = traced_graph(model, inputs)
    except Exception:  # tracing runs the model's own code
        return part, False
    absorbed = [
        leaf.dtype.kind in "iuf" and _is_absorbed(graph, symbol, penalized)
        for leaf, symbol in zip(leaves, symbols, strict=True)
    ]
    if not any(absorbed):
        return part, False
    means = [
        moment.mean if is_absorbed else None
        for moment, is_absorbed in zip(_moments(part, 0), absorbed, strict=True)
    ]
    if isinstance(part, Arrays):
        shifted = Arrays(_shifted(part.x, means), part.y, part.sample_weight)
        return shifted, all(absorbed)
    return _ShiftedBatches(part, means), all(absorbed)


def are_targets_alike(part: Any) -> bool:
    """Whether all rows have the same targets."""
    return not any(moment.deviation.any() for moment in _moments(part, 1))


def may_be_rounding(part: Any, strength: float) -> bool:
    """Whether the largest strength of data may be nothing but rounding.

    The terms of a gradient have about the size of products of inputs and
    targets. Their sum has about the size of products of deviations from the
    means. If the rounding errors of the terms are large in comparison, a
    strength of 0 is not reliable. If rounding changes the targets by as much
    as their deviations, no strength is.

    Args:
        part: the training data, arrays or an iterable of batches.
        strength: the computed strength.
    """
    eps = float(np.finfo(keras.config.floatx()).eps)
    targets = _distance(part, 1)
    if strength > 0.0:
        return targets * eps > 1.0
    # A distance near zero must not cancel a large one in the product.
    return max(targets, 1.0) * max(_distance(part, 0), 1.0) * eps > _NEGLIGIBLE


def _distance(part: Any, place: int) -> float:
    return max((m.distance for m in _moments(part, place)), default=0.0)


@dataclass(frozen=True)
class _Moments:
    """The mean and the standard deviation of each entry over the rows."""

    mean: Array
    deviation: Array

    @property
    def distance(self) -> float:
        """The largest ratio of a mean to its standard deviation."""
        varies = self.deviation > 0.0
        ratios = np.abs(self.mean[varies]) / self.deviation[varies]
        return float(ratios.max(initial=0.0))


def _moments(part: Any, place: int) -> list[_Moments]:
    """The moments of the inputs (place 0) or the targets (1), array by array.

    Sums are taken in double precision, of differences from the first row.
    """
    first: list[Array] = []
    sums: list[Array] = []
    squares: list[Array] = []
    rows = 0
    for batch, size in batches_of(part, _ROWS_AT_ONCE):
        arrays = [np.asarray(a, "float64") for a in tree.flatten(batch[place])]
        if not first:
            first = [array[0] for array in arrays]
            sums = [np.zeros_like(row) for row in first]
            squares = [np.zeros_like(row) for row in first]
        for i, array in enumerate(arrays):
            away = array - first[i]
            sums[i] = sums[i] + away.sum(axis=0)
            squares[i] = squares[i] + np.square(away).sum(axis=0)
        rows += size
    means = [total / rows for total in sums]
    return [
        _Moments(
            row + mean,
            np.sqrt(np.maximum(square / rows - np.square(mean), 0.0)),
        )
        for row, mean, square in zip(first, means, squares, strict=True)
    ]


def _is_trained_as_usual(model: keras.Model) -> bool:
    """Whether the loss depends on inputs only through the model's outputs."""
    cls = type(model)
    return (
        cls.train_step is keras.Model.train_step
        and cls.compute_loss is keras.Model.compute_loss
    )


def _is_absorbed(
    graph: TracedGraph, entrance: Any, penalized: Collection[int]
) -> bool:
    """Whether biases can compensate for any shift of an input."""
    shifted = {id(entrance)}
    for call in graph.calls:
        if shifted.isdisjoint(map(id, call.input_tensors)):
            continue
        operation = call.operation
        if _is_affine(operation):
            shifted.update(map(id, call.output_tensors))
        elif not _has_fitted_bias(operation, call.input_tensors, penalized):
            return False
    return shifted.isdisjoint(map(id, graph.outputs))


def _is_affine(operation: Any) -> bool:
    return (
        type(operation) in _AFFINE_LAYERS
        or operation_kind(operation) in _AFFINE_OPERATIONS
    )


def _has_fitted_bias(
    operation: Any, inputs: Sequence[Any], penalized: Collection[int]
) -> bool:
    """Whether an operation is a dense layer with a bias that is fitted.

    Inputs with more axes are excluded, because one bias is then added at many
    positions, whose shifts may differ.
    """
    if type(operation) is not layers.Dense or len(inputs[0].shape) != 2:
        return False
    bias = operation.bias
    return (
        bias is not None
        and bias.trainable
        and bias.constraint is None
        and bias.regularizer is None
        and id(bias) not in penalized
        and operation.quantization_mode is None
    )


def _shifted(x: Any, means: Sequence[Array | None]) -> Any:
    """Inputs minus their means, computed in double precision."""
    arrays = [
        array if mean is None else (array - mean).astype(_dtype_of(array))
        for array, mean in zip(tree.flatten(x), means, strict=True)
    ]
    return tree.pack_sequence_as(x, arrays)


def _dtype_of(array: Array) -> Any:
    """The dtype of a float array; `floatx` for integers and half precision."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 2:
        return array.dtype
    return keras.config.floatx()


@dataclass(frozen=True)
class _ShiftedBatches:
    """Batches whose inputs are shifted.

    Args:
        batches: the batches.
        means: the mean to subtract from each input; None to leave it.
    """

    batches: Any
    means: Sequence[Array | None]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for (x, *others), _ in batches_of(self.batches, _ROWS_AT_ONCE):
            yield _shifted(x, self.means), *others
