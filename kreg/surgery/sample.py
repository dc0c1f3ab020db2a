"""Samples: inputs on which the outputs of two models are compared."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers

Structure = Any
"""An array, or lists, tuples and dicts of them, as a model takes them."""

# The sizes to try for an open size of an input. There are several, because a
# model may need more pixels, or refuse so many tokens.
_OPEN_SIZES = (32, 8, 16, 4, 64, 128, 224, 2)


def input_tensors(model: keras.Model) -> Structure | None:
    """The symbolic inputs of a model, in the structure of its argument.

    None if they are not known, as for a subclassed model.
    """
    if isinstance(model, keras.Sequential):
        return model.inputs[0]
    return model.input if getattr(model, "inputs", None) else None


def random_sample(model: keras.Model, batch: int) -> Structure:
    """Random inputs for a model: the first of its `random_samples`.

    Args:
        model: a built model.
        batch: int, the number of examples.

    Raises:
        ValueError: if the inputs of the model are not known, or are strings.
    """
    tensors = input_tensors(model)
    if tensors is None:
        raise ValueError(
            "`sample` is needed: the model does not declare its inputs, so "
            "pass a few examples, in the form in which you call the model. "
            f"Received: sample=None, model={model!r}"
        )
    for tensor in keras.tree.flatten(tensors):
        if _dtype_of(tensor) == "string":
            raise ValueError(
                "`sample` is needed for a model that takes strings. "
                f"Received: sample=None, with the input {tensor!r}"
            )
    return next(random_samples(model, batch))


def random_samples(
    model: keras.Model, batch: int, *, masks: bool = False
) -> Iterator[Structure]:
    """Random inputs for a model, with several values for open sizes.

    Floats are normally distributed, and integers are 0 or 1. If the model has
    Embedding layers, all inputs are integers below the smallest `input_dim`.
    Masks and booleans are 1, so that nothing is masked out.

    Args:
        model: a built model.
        batch: int, the number of examples where the model takes any number.
        masks: bool, whether the last example ends early, with what `Masking`
            layers or embeddings of the model mask out. Defaults to `False`.

    Yields:
        Inputs in the structure of the model's argument. Open sizes are 32 in
        the first of them. Nothing if the inputs of the model are not known.
    """
    tensors = input_tensors(model)
    if tensors is None:
        return
    limit = min(
        (
            layer.input_dim
            for layer in flatten_layers(model)
            if isinstance(layer, keras.layers.Embedding)
        ),
        default=None,
    )
    is_open = any(None in tensor.shape[1:] for tensor in model.inputs)
    for size in _OPEN_SIZES if is_open else _OPEN_SIZES[:1]:
        draw = partial(_drawn, np.random.default_rng(0), batch, size, limit)
        sample = keras.tree.map_structure(draw, tensors)
        if masks:
            sample = keras.tree.map_structure(
                partial(_ended_early, flatten_layers(model)), sample
            )
        yield sample


def _drawn(
    generator: np.random.Generator,
    batch: int,
    open_size: int,
    limit: int | None,
    tensor: keras.KerasTensor,
) -> NDArray[Any]:
    first, *others = tensor.shape
    shape = (first or batch, *(n or open_size for n in others))
    dtype = _dtype_of(tensor)
    if dtype == "string":
        return np.full(shape, "a")
    if dtype == "bool" or "mask" in tensor.name:
        return np.ones(shape, dtype)
    if limit or "int" in dtype:
        return _as_array(generator.integers(0, limit or 2, shape), dtype)
    return _as_array(generator.normal(size=shape), dtype)


def _ended_early(
    layers: Sequence[keras.layers.Layer], array: NDArray[Any]
) -> NDArray[Any]:
    """An array whose last example is masked out in its second half."""
    is_id = array.ndim == 2
    values = [
        0 if is_id else layer.mask_value
        for layer in layers
        if (is_id and getattr(layer, "mask_zero", False))
        or (array.ndim > 2 and isinstance(layer, keras.layers.Masking))
    ]
    if values and array.dtype.kind in "iuf":
        array[-1, -(-array.shape[1] // 2) :] = values[0]
    return array


def _dtype_of(tensor: keras.KerasTensor) -> str:
    dtype: str = keras.backend.standardize_dtype(tensor.dtype)
    return dtype


def checked_sample(model: keras.Model, sample: Structure) -> Structure:
    """The user's examples, checked, in the types of the model's inputs.

    Raises:
        ValueError: if their structure or shapes are not those of the model's
            inputs, or the inputs differ in the number of examples.
    """
    tensors = input_tensors(model)
    sample = keras.tree.map_structure(keras.ops.convert_to_numpy, sample)
    if tensors is not None:
        try:
            keras.tree.assert_same_structure(tensors, sample)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "`sample` must have the structure of the model's inputs, "
                f"{keras.tree.map_structure(_described, tensors)}. Received: "
                f"sample={keras.tree.map_structure(_described, sample)}"
            ) from error
        sample = keras.tree.map_structure(_as_input, tensors, sample)
    else:
        sample = keras.tree.map_structure(
            lambda array: _in_precision(array, model.input_dtype), sample
        )
    counts = {len(array) if array.ndim else 0 for array in flat(sample)}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(
            "`sample` must hold at least one example, and equally many for "
            "each input. "
            f"Received: sample={keras.tree.map_structure(_described, sample)}"
        )
    return sample


def flat(structure: Structure) -> list[NDArray[Any]]:
    """The arrays of a structure, in Keras's order."""
    return list(keras.tree.flatten(structure))


def examples(sample: Structure, count: int) -> Structure:
    """The first `count` examples of a sample, repeated if it has fewer."""
    size = len(flat(sample)[0])
    rows = np.arange(count) % size
    return keras.tree.map_structure(lambda array: array[rows], sample)


def _as_input(tensor: keras.KerasTensor, array: NDArray[Any]) -> NDArray[Any]:
    example_shape = tensor.shape[1:]
    if array.ndim != len(example_shape) + 1 or any(
        n not in (None, size)
        for n, size in zip(example_shape, array.shape[1:], strict=True)
    ):
        raise ValueError(
            f"`sample` must have the shape {tensor.shape} for the input "
            f"{tensor.name!r}. Received: an array of shape {array.shape}"
        )
    return _as_array(array, _dtype_of(tensor))


def _in_precision(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    floating = np.issubdtype(array.dtype, np.floating)
    return _as_array(array, dtype) if floating else array


def _as_array(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    return array if dtype == "string" else array.astype(dtype)


def _described(value: Any) -> str:
    shape = ", ".join("None" if n is None else str(n) for n in value.shape)
    return f"{value.dtype}({shape})"
