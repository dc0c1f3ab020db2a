"""Multiply-adds of a model, layer by layer."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from kreg._keras_private import flatten_layers, own_variables
from kreg.deployment._layer_products import products_of
from kreg.deployment._sample import Structure, examples

# Their weights scale, shift or look up, entry by entry.
_WITHOUT_PRODUCTS = (
    layers.BatchNormalization,
    layers.Embedding,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.Normalization,
    layers.PReLU,
    layers.RMSNormalization,
)


@dataclass
class MultiplyAdds:
    """Multiply-adds for one example.

    Args:
        by_layer: how many, from the path of each layer that has some.
        uncounted: the paths of layers with matrices of which kreg does not
            know how they are used.
    """

    by_layer: dict[str, int] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Of all layers together."""
        return sum(self.by_layer.values())


def multiply_adds(model: keras.Model, sample: Structure) -> MultiplyAdds:
    """Count the multiply-adds of products with weights, for one example.

    These are the products of Dense, EinsumDense, convolutions and recurrent
    layers, at every position and in every time step, and both products of
    attention layers that have weights. Biases, activations, normalization,
    pooling and lookups count nothing, and zeros in a kernel count like any
    other number. A layer that is called twice counts twice.

    The model is run on one example; what each layer does is told by the shapes
    that it gets and gives.
    """
    counts = MultiplyAdds()
    with ExitStack() as stack:
        inside = _Inside()
        for layer in flatten_layers(model):
            stack.enter_context(_watched(layer, counts, inside))
        model(examples(sample, 1), training=False)
    return counts


@dataclass
class _Inside:
    """How many layers that are counted as a whole are running."""

    depth: int = 0


@contextmanager
def _watched(
    layer: keras.layers.Layer, counts: MultiplyAdds, inside: _Inside
) -> Iterator[None]:
    """Let the calls of `layer` count, by an attribute over its method."""
    call = layer.call
    watched = _counting(layer, call, counts, inside)
    replaced = vars(layer).get("call")
    vars(layer)["call"] = watched
    try:
        yield
    finally:
        del vars(layer)["call"]
        if replaced is not None:
            vars(layer)["call"] = replaced


def _counting(
    layer: keras.layers.Layer,
    call: Callable[..., Any],
    counts: MultiplyAdds,
    inside: _Inside,
) -> Callable[..., Any]:
    @functools.wraps(call)
    def counting(*args: Any, **kwargs: Any) -> Any:
        whole = isinstance(layer, layers.RNN)
        inside.depth += whole
        try:
            outputs = call(*args, **kwargs)
        finally:
            inside.depth -= whole
        if inside.depth:
            return outputs
        bound = inspect.signature(call).bind(*args, **kwargs)
        arguments = list(bound.arguments.values())
        products = products_of(layer, arguments, outputs)
        if products is None:
            if _has_matrices(layer) and layer.path not in counts.uncounted:
                counts.uncounted.append(layer.path)
        elif products:
            before = counts.by_layer.get(layer.path, 0)
            counts.by_layer[layer.path] = before + products
        return outputs

    return counting


def _has_matrices(layer: keras.layers.Layer) -> bool:
    return not isinstance(layer, _WITHOUT_PRODUCTS) and any(
        sum(n > 1 for n in v.shape) > 1 for v in own_variables(layer)
    )
