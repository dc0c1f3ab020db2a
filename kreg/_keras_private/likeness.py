"""Whether a copy of a layer computes what the layer computes."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from kreg._keras_private.layers import flatten_layers
from kreg._keras_private.tracing import (
    TracedCall,
    Weight,
    calls_inside,
    is_composite,
)

# They do not tell what a layer computes.
_NOT_COMPARED = {"name", "seed", "module", "registered_name", "build_config"}


def is_alike(call: TracedCall, copy: keras.layers.Layer) -> bool:
    """Whether the code of a copy makes the same calls as that of a layer.

    Compared are the layers and operations that both call, in training, too:
    the configs of Keras's layers, and the sizes and constants that operations
    are told. It shows an argument of a constructor that a config forgets, also
    where the outputs for some inputs are the same. The values of weights are
    not compared.

    Args:
        call: a call of the layer, of which the arguments are taken.
        copy: a layer of the same class, with weights of the same shapes.
    """
    layer = call.operation
    for training in (False, True):
        try:
            one = calls_inside(layer, call, training)
        except Exception:  # whatever the layer raises
            if not training:
                return _described(layer) == _described(copy)
            continue  # symbolic tensors are not for all code of training
        try:
            other = calls_inside(copy, call, training)
        except Exception:  # whatever the copy raises
            return False
        if list(_all_told(layer, one, training)) != list(
            _all_told(copy, other, training)
        ):
            return False
    return True


def _all_told(
    layer: keras.layers.Layer, calls: list[TracedCall], training: bool
) -> Iterator[Any]:
    """What each call is told, with numbers in the place of tensors."""
    weights = {id(v): i for i, v in enumerate(layer.variables)}
    tensors: dict[int, int] = {}

    def told(value: Any) -> Any:
        if isinstance(value, keras.KerasTensor):
            return "tensor", tensors.setdefault(id(value), len(tensors))
        return _comparable(value, training)

    for call in calls:
        operation = call.operation
        if isinstance(operation, Weight):
            what: Any = weights.get(id(operation.variable))
        elif is_composite(operation):
            what = None  # the calls inside it tell
        elif isinstance(operation, keras.layers.Layer):
            what = _config(operation)
        else:
            what = {
                name: _comparable(value, training)
                for name, value in vars(operation).items()
                if not name.startswith("_") and name not in _NOT_COMPARED
            }
        arguments = call.arguments.args, call.arguments.kwargs
        given = [told(value) for value in tree.flatten(arguments)]
        outputs = [told(tensor) for tensor in call.output_tensors]
        yield type(operation), what, given, outputs


def _config(layer: keras.layers.Layer) -> Any:
    try:
        return _without_names(layer.get_config())
    except Exception:  # whatever the layer raises
        return None


def _without_names(config: Any) -> Any:
    if isinstance(config, dict):
        return {
            key: _without_names(value)
            for key, value in config.items()
            if key not in _NOT_COMPARED
        }
    if isinstance(config, list | tuple):
        return [_without_names(value) for value in config]
    return _comparable(config, training=False)


def _comparable(value: Any, training: bool) -> Any:
    """A value that can be compared; only the kind of one that cannot."""
    if isinstance(value, str | bytes | bool | int | float | type(None) | slice):
        return repr(value)  # also of numbers that are not equal to themselves
    if isinstance(value, keras.Variable):
        return tuple(value.shape), value.dtype
    if isinstance(value, list | tuple):
        return [_comparable(part, training) for part in value]
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        array = keras.ops.convert_to_numpy(value)
        # In training, it may be a random one.
        return array.shape, "" if training else array.tobytes()
    return getattr(value, "__qualname__", type(value).__qualname__)


def _described(layer: keras.layers.Layer) -> list[Any]:
    """The public attributes of a layer and of those inside it."""
    return [
        (
            type(part),
            {
                name: _comparable(value, training=False)
                for name, value in sorted(vars(part).items())
                if not name.startswith("_") and name not in _NOT_COMPARED
            },
        )
        for part in flatten_layers(layer)
    ]
