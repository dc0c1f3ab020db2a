"""Examples on which a model and its smaller one are compared."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers
from kreg.surgery.sample import input_tensors

_EXAMPLES = 2
# The sizes to try where a model leaves one open: a model may take no fewer
# pixels, or no more tokens.
_OPEN_SIZES = (32, 8, 16, 4, 64, 128, 224, 2)


def samples(model: keras.Model) -> list[Any]:
    """Random inputs to try, in the structure of `model.input`.

    Floats are normally distributed, integers are 0 or 1, and masks are 1.

    Args:
        model: a built model.

    Returns:
        Inputs with other sizes where the model leaves them open; none if the
        model does not tell its inputs.
    """
    tensors = input_tensors(model)
    if tensors is None:
        return []
    takes_rows = any(
        isinstance(layer, keras.layers.Embedding)
        for layer in flatten_layers(model)
    )
    is_open = any(None in tensor.shape[1:] for tensor in model.inputs)

    def drawn(size: int) -> Any:
        return keras.tree.map_structure(
            lambda tensor: _drawn(tensor, size, takes_rows), tensors
        )

    return list(map(drawn, _OPEN_SIZES if is_open else _OPEN_SIZES[:1]))


def _drawn(
    tensor: keras.KerasTensor, size: int, takes_rows: bool
) -> NDArray[Any]:
    generator = np.random.default_rng(0)
    shape = (
        tensor.shape[0] or _EXAMPLES,
        *(size if n is None else n for n in tensor.shape[1:]),
    )
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype == "string":
        return np.full(shape, "a")
    if dtype == "bool" or "mask" in tensor.name:
        return np.ones(shape, dtype)
    if "int" in dtype or takes_rows:
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.normal(size=shape).astype(dtype)
