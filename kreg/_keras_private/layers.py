"""Layers and their variables, through Keras's private names."""

import copyreg
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import ModuleType
from typing import Any

import keras
from keras import ops
from keras.src.backend.common import global_state
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils.tracking import DotNotTrackScope


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer or model and every layer in it, however deep, each once.

    The order is that of `layer.weights`: a layer comes before the layers inside
    it, and these come before the next layer. Keras's own list has the layers of
    a nested model from the last to the first.
    """
    ordered: dict[int, keras.layers.Layer] = {}
    pending = [layer]
    while pending:
        visited = pending.pop()
        if id(visited) not in ordered:
            ordered[id(visited)] = visited
            pending += reversed(own_layers(visited))
    return list(ordered.values())


def own_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that `layer` itself holds, without those inside them."""
    layers: list[keras.layers.Layer] = list(
        layer._flatten_layers(include_self=False, recursive=False)
    )
    return layers


def own_trainable_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights that `layer` made itself and can train, frozen or not."""
    return list(layer._trainable_variables)


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables that `layer` made itself, trained or not."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def dequantized(
    layer: keras.layers.Layer, variable: keras.Variable
) -> Any | None:
    """The dequantized values of a weight of `layer`.

    Args:
        layer: any layer.
        variable: a variable that `layer` made.

    Returns:
        A float tensor of the shape that the weight had before quantization.
        None if the variable does not hold a quantized weight.
    """
    name = variable.name
    scale = getattr(layer, f"{name}_scale", None)
    mode = getattr(layer, "quantization_mode", None)
    if scale is None:
        return None
    if mode == "int8":
        if name == "embeddings":
            scale = ops.expand_dims(scale, -1)
        elif isinstance(layer, keras.layers.EinsumDense):
            scale = layer._adjust_scale_for_dequant(scale)
        numbers = ops.cast(variable, "float32") / scale
    elif mode == "int4":
        numbers = _unpacked(layer, variable, scale)
    elif getattr(layer, f"is_{mode}_calibrated", False):
        # The first axis of the stored matrix is that of the units.
        numbers = ops.transpose(
            _from_groups(layer, layer.kernel, name, scale, -1)
        )
        if mode == "awq":
            numbers = numbers / ops.expand_dims(layer.awq_scales, -1)
    else:
        return None
    if mode != "int8" and isinstance(layer, keras.layers.EinsumDense):
        numbers = ops.reshape(numbers, layer.original_kernel_shape)
    return numbers


def _unpacked(layer: Any, variable: keras.Variable, scale: Any) -> Any:
    """The values of an int4 weight, two of which Keras packs into one."""
    is_einsum = isinstance(layer, keras.layers.EinsumDense)
    numbers = keras.quantizers.unpack_int4(
        ops.convert_to_tensor(variable),
        layer._int4_unpacked_column_size
        if is_einsum
        else layer._orig_output_dim,
        axis=0 if variable.name == "reverse_embeddings" else -1,
    )
    by_row = variable.name == "embeddings"
    if hasattr(layer, f"{variable.name}_zero"):
        axis = -1 if by_row else 0
        return _from_groups(layer, numbers, variable.name, scale, axis)
    scale = ops.expand_dims(scale, -1) if by_row else scale
    return ops.cast(numbers, "float32") / scale


def _from_groups(
    layer: Any, numbers: Any, name: str, scale: Any, axis: int
) -> Any:
    """`numbers`, dequantized by group with the zeros and scales on `axis`."""
    group = ops.cast(layer.g_idx, "int32")
    zero = ops.cast(getattr(layer, f"{name}_zero"), "float32")
    return (
        ops.cast(numbers, "float32") - ops.take(zero, group, axis=axis)
    ) * ops.take(scale, group, axis=axis)


def with_path(variable: keras.Variable, path: str) -> keras.Variable:
    """`variable`, with the path of another one."""
    variable._path = path
    return variable


def cloned(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer and of all that it holds, made without its config.

    The copy has variables of its own, and is called in no model yet. Functions
    and modules that the layer holds are shared. Regularizers and constraints
    are shared, too, and so is the optimizer of a model.

    Args:
        layer: a built layer, or a model.

    Raises:
        TypeError: if it holds what Python cannot copy, such as an open file.
    """
    memo: dict[int, Any] = {
        id(layer._inbound_nodes): [],
        id(layer._outbound_nodes): [],
    }
    for variable in layer.variables:
        for shared in (variable.regularizer, variable.constraint):
            memo[id(shared)] = shared
    for part in flatten_layers(layer):
        for name in ("train_function", "test_function", "predict_function"):
            memo[id(vars(part).get(name))] = None
        strategy = vars(part).get("_distribute_strategy")
        memo[id(strategy)] = strategy
    with _copied_by_attributes(), DotNotTrackScope():
        copy: keras.layers.Layer = deepcopy(layer, memo)
    for part in flatten_layers(copy):
        stores = part._tracker.config
        part._tracker.stored_ids = {
            name: {id(value) for value in store}
            for name, (_, store) in stores.items()
        }
    return copy


@contextmanager
def _copied_by_attributes() -> Iterator[None]:
    """Let Python copy Keras's objects attribute by attribute.

    Keras reduces them to a saved file, which needs a config.
    """

    def reduced(saveable: Any) -> Any:
        if isinstance(saveable, keras.optimizers.Optimizer):
            return "shared"  # for a string, Python does not copy the object
        cls = type(saveable)
        # Methods that Keras wraps in each object hold the object itself.
        own = vars(cls.__new__(cls))  # type: ignore[call-overload]
        state = {
            name: value
            for name, value in vars(saveable).items()
            if not (name in own and callable(value))
        }
        return copyreg.__newobj__, (cls,), state  # type: ignore[attr-defined]

    own_reduce = KerasSaveable.__reduce__
    modules = copyreg.dispatch_table.get(ModuleType)
    KerasSaveable.__reduce__ = reduced
    copyreg.pickle(ModuleType, lambda module: module.__name__)
    try:
        yield
    finally:
        KerasSaveable.__reduce__ = own_reduce
        del copyreg.dispatch_table[ModuleType]
        if modules is not None:
            copyreg.dispatch_table[ModuleType] = modules


@contextmanager
def without_values() -> Iterator[None]:
    """Let layers be made whose variables have shapes, but no values.

    That takes neither their time nor their memory. Such layers are to be
    looked at within the block only. Keras refuses there to make variables of
    given arrays.
    """
    name = "uninitialized_variables"
    before = global_state.get_global_attribute(name, [])
    global_state.set_global_attribute(name, [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(name, before)


def forget_last_call(layer: keras.layers.Layer) -> None:
    """Delete the record that a layer has of its last symbolic call."""
    layer._inbound_nodes.pop()


ATTENTION_PROJECTIONS = {
    "query": "_query_dense",
    "key": "_key_dense",
    "value": "_value_dense",
    "gate": "_gate_dense",
    "output": "_output_dense",
}
"""The attributes of `MultiHeadAttention` and `GroupQueryAttention` that hold
their projections. They have a gate only with `use_gate=True`."""


def uses_flash_attention(layer: keras.layers.Layer) -> bool:
    """Whether an attention layer asks for flash attention.

    The config of the layer does not show it.
    """
    return bool(layer._flash_attention)
