"""Attention layers: their multiply-adds, and how they lose heads."""

import inspect
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from kreg._keras_private import (
    ATTENTION_PROJECTIONS,
    carries_mask,
    uses_flash_attention,
)
from kreg.layers._attention_heads import (
    AttentionHeads,
    Conditions,
    Projection,
)
from kreg.layers.channels.call import (
    Call,
    Reduction,
    Traced,
    array,
    fresh_signal,
    kept_whole,
    matrix,
)
from kreg.layers.channels.network import EqualGroups, Kept, Network, Signal
from kreg.layers.channels.weighted_sum import is_altered

_MASKS = ("query_mask", "value_mask", "key_mask", "attention_mask")


def attention_multiply_adds(
    layer: Any, arguments: list[Any], output: tuple[int, ...]
) -> int:
    """The multiply-adds of scores and weighted values.

    Those of the projections are counted for the layers inside.
    """
    query, value = arguments[0].shape, arguments[1].shape
    pairs = math.prod(query[1:-1]) * math.prod(value[1:-1])
    if isinstance(layer, layers.GroupQueryAttention):
        return pairs * layer.num_query_heads * 2 * layer.head_dim
    return pairs * layer.num_heads * (layer.key_dim + layer.value_dim)


def attention_channels(call: Call, network: Network) -> Traced:
    """An attention layer, which can lose heads, and width of all heads."""
    layer = call.operation
    parts = _projections(layer)
    if any(is_altered(part) for part in parts.values()):
        return kept_whole(
            call,
            network,
            "has LoRA factors or quantized weights; heads can go only before "
            "those are added",
        )
    arguments, signals = _arguments(call)
    inputs = _inputs(arguments, signals)
    if inputs is None:
        return kept_whole(
            call, network, "is called on a tensor without known channels"
        )
    for name in _MASKS:
        if name in signals:
            network.pin(
                signals[name].channels, f"it is a mask of `{call.path}`"
            )
    if _has_narrow_heads(parts):
        return kept_whole(
            call,
            network,
            "has heads of width 1, whose biases Keras may add along another "
            "axis; heads of width 2 or more could go",
        )
    config = layer.get_config()
    is_multi_head = isinstance(layer, layers.MultiHeadAttention)
    conditions = Conditions(
        weights_sum_to_one=_weights_sum_to_one(call, arguments, config),
        returns_scores=len(call.node.output_tensors) > 1,
        masks_heads=_masks_heads(arguments, config),
        has_one_width=not is_multi_head,
    )
    heads = AttentionHeads(
        call.path,
        network,
        {
            name: _projection(part, name, config["use_bias"])
            for name, part in parts.items()
        },
        inputs,
        conditions,
    )
    if not is_multi_head:  # all of these have the same width
        ends = (inputs["query"], inputs["value"], heads.units)
        channels = np.stack([signal.channels for signal in ends])
        network.equal_groups.append(EqualGroups(call.path, (channels,)))

    def reduce(kept: Kept) -> Reduction:
        reduced = heads.reduced(kept)
        width = int(kept(inputs["query"].channels).sum())
        changes = _changes(layer, heads, kept, width)
        changes["use_bias"] = reduced["output"].bias is not None
        weights = {}
        for name, projection in reduced.items():
            attribute = ATTENTION_PROJECTIONS[name]
            shape = parts[name].kernel.shape[2:]
            kernel = projection.kernel
            if name == "output" and len(shape) > 1:
                kernel = kernel.reshape(*kernel.shape[:2], *shape)
            weights[f"{attribute}.kernel"] = kernel
            if projection.bias is not None:
                bias = projection.bias
                if name == "output":
                    bias = bias.reshape(kernel.shape[2:])
                weights[f"{attribute}.bias"] = bias
        return Reduction(changes, weights)

    outputs = [fresh_signal(t, network) for t in call.node.output_tensors[1:]]
    for signal in outputs:
        network.pin(
            signal.channels, f"`{call.path}` returns its attention weights"
        )
    return Traced((_output(call, network, heads), *outputs), reduce)


def _output(call: Call, network: Network, heads: AttentionHeads) -> Signal:
    """The output of a call, whose last axis holds the units."""
    tensor = call.node.output_tensors[0]
    units = heads.units.channels
    if tensor.shape[-1] == len(units):
        network.units[call.path] = units
        return heads.units.moved(len(tensor.shape) - 1)
    reason = f"`{call.path}` has an output of several axes"
    signal = fresh_signal(tensor, network)
    for channels in (signal.channels, units):
        network.pin(channels, reason)
    return signal


def _projections(layer: Any) -> dict[str, Any]:
    """The projections inside an attention layer, by their roles."""
    found = {
        name: getattr(layer, attribute, None)
        for name, attribute in ATTENTION_PROJECTIONS.items()
    }
    return {name: part for name, part in found.items() if part is not None}


def _has_narrow_heads(parts: Mapping[str, Any]) -> bool:
    """Whether several heads have a width of 1."""
    heads, width, *_ = parts["output"].kernel.shape
    return heads > 1 and 1 in (width, parts["key"].kernel.shape[-1])


def _projection(part: Any, name: str, use_bias: bool) -> Projection:
    kernel, bias = matrix(part.kernel), None
    if use_bias:
        bias = array(part.bias)
    if name == "output":
        kernel = kernel.reshape(*kernel.shape[:2], -1)
        bias = None if bias is None else bias.reshape(-1)
    return Projection(kernel, bias)


def _arguments(call: Call) -> tuple[dict[str, Any], dict[str, Signal]]:
    """The arguments of a call by name, and the channels of the tensors."""
    passed = call.node.arguments
    names = list(inspect.signature(call.operation.call).parameters)
    arguments = dict(zip(names, passed.args, strict=False))
    # The tensors of a node are in the order of the flat arguments.
    arguments |= {name: passed.kwargs[name] for name in sorted(passed.kwargs)}
    tensors = [
        name
        for name, value in arguments.items()
        if isinstance(value, keras.KerasTensor)
    ]
    return arguments, dict(zip(tensors, call.signals, strict=True))


def _inputs(
    arguments: Mapping[str, Any], signals: Mapping[str, Signal]
) -> dict[str, Signal] | None:
    """The channels of query, key and value; None if any are not known."""
    inputs = {}
    for name in ("query", "key", "value"):
        # Keras uses the value as the key if there is no key.
        argument = "value" if arguments.get(name) is None else name
        signal = signals.get(argument)
        if signal is None or not len(signal.channels):
            return None
        if signal.axis != len(arguments[argument].shape) - 1:
            return None
        inputs[name] = signal
    return inputs


def _weights_sum_to_one(
    call: Call, arguments: Mapping[str, Any], config: Mapping[str, Any]
) -> bool:
    """Whether the attention weights of every position sum to 1.

    Unless Keras calls the fused attention of the backend, they are all 0 at a
    position from which a mask hides every other. A causal mask never does so.
    """
    is_unfused = (
        config["dropout"] > 0
        or len(call.node.output_tensors) > 1
        or len(arguments["query"].shape) != 3
    )
    has_mask = (
        config.get("sliding_window") is not None
        or any(arguments.get(name) is not None for name in _MASKS)
        or any(map(carries_mask, call.node.input_tensors))
    )
    drops = call.training and config["dropout"] > 0
    return not drops and not (is_unfused and has_mask)


def _masks_heads(
    arguments: Mapping[str, Any], config: Mapping[str, Any]
) -> bool:
    """Whether the mask of a call may differ from head to head."""
    mask: Any = arguments.get("attention_mask")
    attended = len(config.get("attention_axes") or (1,))
    shape = mask.shape if hasattr(mask, "shape") else np.shape(mask)
    if len(shape) < len(arguments["query"].shape) + attended:
        return False
    return bool(shape[-2 * attended - 1] != 1)


def _changes(
    layer: Any, heads: AttentionHeads, kept: Kept, query_width: int
) -> dict[str, Any]:
    """The entries of a layer's config that change.

    Args:
        layer: the layer.
        heads: its heads.
        kept: which channels stay.
        query_width: the number of kept channels of its query.
    """
    count, sets, key_width, value_width = heads.counts(kept)
    changes: dict[str, Any] = {}
    if uses_flash_attention(layer):
        changes["flash_attention"] = True
    if isinstance(layer, layers.GroupQueryAttention):
        return changes | {
            "num_query_heads": count,
            "num_key_value_heads": sets,
            "head_dim": key_width,
        }
    shape = layer.get_config()["output_shape"]
    units = int(kept(heads.units.channels).sum())
    if len(shape or ()) == 1 or (shape is None and units != query_width):
        changes["output_shape"] = (units,)
    return changes | {
        "num_heads": count,
        "key_dim": key_width,
        "value_dim": value_width,
    }
