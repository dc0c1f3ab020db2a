"""Comparing the calls of a layer with those of a copy, and in training."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from kreg._keras_private.layers import flatten_layers
from kreg._keras_private.traced_calls import TracedCall, Weight
from kreg._keras_private.tracing import calls_inside, is_composite

# Attributes and entries of configs that do not change what is computed.
_NOT_COMPARED = {"name", "seed", "module", "registered_name", "build_config"}


def is_alike(call: TracedCall, copy: keras.layers.Layer) -> bool:
    """Whether the code of a copy makes the same calls as that of a layer.

    The calls in training are compared, too. Equal calls have layers of Keras
    with equal configs, or operations with equal sizes and constants. So an
    argument of a constructor that a config forgets is found, even where it
    does not change the outputs for some inputs. The values of weights are not
    compared.

    Args:
        call: a call of the layer. The copy is called with its arguments.
        copy: a layer of the same class, with weights of the same shapes.
    """
    layer = call.operation
    for training in (False, True):
        try:
            layer_calls = calls_inside(layer, call, training)
        except Exception:  # whatever the layer raises
            if not training:
                return _attributes(layer) == _attributes(copy)
            continue  # code for training may need values
        try:
            copy_calls = calls_inside(copy, call, training)
        except Exception:  # whatever the copy raises
            return False
        if list(_comparable_calls(layer, layer_calls, training)) != list(
            _comparable_calls(copy, copy_calls, training)
        ):
            return False
    return True


def trains_as_it_predicts(call: TracedCall) -> bool:
    """Whether the code of a layer makes the same calls in training.

    What the called layers do in training does not count. The answer is False
    if the code cannot run on symbolic tensors in training.

    Args:
        call: a call of a layer that was looked into.
    """
    layer = call.operation
    if "training" not in inspect.signature(layer.call).parameters:
        return True
    called = []
    for training in (False, True):
        try:
            calls = calls_inside(layer, call, training)
        except Exception:  # whatever the layer raises
            return False
        # The layers, and the kinds of operations, that its code calls itself.
        called.append(
            [
                inner.operation
                if isinstance(inner.operation, keras.layers.Layer)
                else type(inner.operation)
                for inner in calls
                if inner.owners and inner.owners[-1] is layer
            ]
        )
    return called[0] == called[1]


def _comparable_calls(
    layer: keras.layers.Layer, calls: list[TracedCall], training: bool
) -> Iterator[Any]:
    """What tells each call: its settings, and numbers for its tensors."""
    weights = {id(v): i for i, v in enumerate(layer.variables)}
    tensors: dict[int, int] = {}

    def numbered(value: Any) -> Any:
        if isinstance(value, keras.KerasTensor):
            return "tensor", tensors.setdefault(id(value), len(tensors))
        return _comparable(value, training)

    for call in calls:
        operation = call.operation
        if isinstance(operation, Weight):
            settings: Any = weights.get(id(operation.variable))
        elif is_composite(operation):
            settings = None  # the calls inside it are compared
        elif isinstance(operation, keras.layers.Layer):
            settings = _config(operation)
        else:
            settings = _public_attributes(operation, training)
        arguments = call.arguments.args, call.arguments.kwargs
        inputs = [numbered(value) for value in tree.flatten(arguments)]
        outputs = [numbered(tensor) for tensor in call.output_tensors]
        yield type(operation), settings, inputs, outputs


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
    """A value as one that `==` compares; the class for any other object."""
    if isinstance(value, str | bytes | bool | int | float | type(None) | slice):
        return repr(value)  # because NaN is not equal to itself
    if isinstance(value, keras.Variable):
        return tuple(value.shape), value.dtype
    if isinstance(value, list | tuple):
        return [_comparable(part, training) for part in value]
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        array = keras.ops.convert_to_numpy(value)
        # An array may be random in training, such as a mask of dropout.
        return array.shape, "" if training else array.tobytes()
    return getattr(value, "__qualname__", type(value).__qualname__)


def _attributes(layer: keras.layers.Layer) -> list[Any]:
    """The public attributes of a layer and of the layers inside it."""
    return [
        (type(part), _public_attributes(part, training=False))
        for part in flatten_layers(layer)
    ]


def _public_attributes(owner: Any, training: bool) -> dict[str, Any]:
    return {
        name: _comparable(value, training)
        for name, value in vars(owner).items()
        if not name.startswith("_") and name not in _NOT_COMPARED
    }
