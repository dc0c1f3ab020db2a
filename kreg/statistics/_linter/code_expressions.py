"""Python expressions for layers and weights, shown in fixes."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import keras

from kreg.foreign_objects import attribute_or_none

Step = tuple[str, keras.layers.Layer]


def layer_expressions(model: keras.Model) -> dict[int, str]:
    """An expression for each layer, by its `id`, such as `model.encoder`.

    Layers that cannot be reached by public attributes are left out.
    """
    codes = {id(model): "model"}
    waiting = deque([model])
    while waiting:
        layer = waiting.popleft()
        for code, child in _children(layer):
            if id(child) not in codes:
                codes[id(child)] = f"{codes[id(layer)]}.{code}"
                waiting.append(child)
    return codes


def public_name(
    layer: keras.layers.Layer, value: Any, guess: str
) -> str | None:
    """The name of the public attribute of a layer that holds `value`.

    `guess` is tried first. None if no attribute holds the value.
    """
    if attribute_or_none(layer, guess) is value:
        return guess
    names = (n for n, held in _public_attributes(layer) if held is value)
    return next(names, None)


def _children(layer: keras.layers.Layer) -> Iterator[Step]:
    if isinstance(layer, keras.Model):
        layers = list(attribute_or_none(layer, "layers") or ())
        times = Counter(child.name for child in layers)
        for child in layers:
            if times[child.name] == 1:
                yield f"get_layer({child.name!r})", child
    for name, value in _public_attributes(layer):
        if isinstance(value, keras.layers.Layer):
            yield name, value
        elif isinstance(value, (list, tuple)):
            for index, child in enumerate(value):
                if isinstance(child, keras.layers.Layer):
                    yield f"{name}[{index}]", child


def _public_attributes(
    layer: keras.layers.Layer,
) -> Iterator[tuple[str, object]]:
    # On torch, a layer keeps its sublayers in `_modules`.
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}
    return ((n, v) for n, v in attributes.items() if not n.startswith("_"))
