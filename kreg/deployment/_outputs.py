"""What a model computes, as arrays."""

from typing import Any, TypeAlias

import keras
from numpy.typing import NDArray

from kreg.deployment._sample import Structure

Arrays: TypeAlias = list[NDArray[Any]]
"""Outputs, flat, in the order of `keras.tree.flatten`."""


def model_outputs(model: keras.Model, sample: Structure) -> Arrays:
    """The outputs of a model in inference."""
    outputs = keras.tree.flatten(model(sample, training=False))
    return [keras.ops.convert_to_numpy(output) for output in outputs]
