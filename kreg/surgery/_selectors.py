"""Naming weights by variables, layers, types, patterns and predicates."""

import difflib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import keras

from kreg._keras_private import flatten_layers
from kreg.surgery._owned_weights import OwnedWeight, path_of

Selector: TypeAlias = (
    keras.layers.Layer
    | type[keras.layers.Layer]
    | str
    | keras.Variable
    | Callable[[keras.Variable], bool]
)


def selected(
    selector: Any, model: keras.Model, weights: Sequence[OwnedWeight]
) -> list[OwnedWeight]:
    """The weights that `selector` names.

    Args:
        selector: what names them.
        model: the model.
        weights: those of the model that can have a regularizer.

    Raises:
        TypeError: if `selector` is none.
        ValueError: if it names nothing.
    """
    layers = flatten_layers(model)
    if isinstance(selector, keras.Variable):
        found = [w for w in weights if w.variable is selector]
        if not found:
            raise _nothing(repr(selector.path), weights)
    elif isinstance(selector, keras.layers.Layer):
        if not any(layer is selector for layer in layers):
            raise ValueError(
                "`rules` must name layers of the model. "
                f"Received: {selector!r}, which is not in `{model.name}`"
            )
        found = _kernels([selector], weights)
    elif isinstance(selector, type) and issubclass(
        selector, keras.layers.Layer
    ):
        found = _kernels(
            [layer for layer in layers if isinstance(layer, selector)], weights
        )
    elif isinstance(selector, str):
        matching = [
            layer
            for layer in layers
            if fnmatchcase(path_of(layer), selector)
            or fnmatchcase(layer.name, selector)
        ]
        if not matching:
            found = [w for w in weights if fnmatchcase(w.path, selector)]
        else:
            found = _kernels(matching, weights)
        if not found and not matching:
            paths = [layer.name for layer in layers]
            paths += [path_of(layer) for layer in layers]
            raise _unmatched(selector, paths, weights)
    elif callable(selector) and not isinstance(selector, type):
        found = [w for w in weights if selector(w.variable)]
    else:
        raise TypeError(
            "`rules` must select weights by a layer, a type of layer, a "
            "pattern of paths, a variable, or a function of a variable. "
            f"Received: {selector!r} (of type {type(selector).__name__})"
        )
    if not found:
        raise _nothing(repr(selector), weights)
    return found


def _kernels(
    layers: Sequence[keras.layers.Layer], weights: Sequence[OwnedWeight]
) -> list[OwnedWeight]:
    """The kernels in `layers`, however deep, that are not frozen."""
    inside = {id(v) for layer in layers for v in layer.trainable_weights}
    return [w for w in weights if w.is_kernel and id(w.variable) in inside]


def _nothing(received: str, weights: Sequence[OwnedWeight]) -> ValueError:
    return ValueError(
        "`rules` must select weights. A layer, a type, or a pattern of layers "
        "selects kernels that are not frozen; name others by themselves, as "
        f"in `(layer.bias, regularizer)`. Received: {received}, which selects "
        f"nothing among {_some([w.path for w in weights])}"
    )


def _unmatched(
    pattern: str, layers: Sequence[str], weights: Sequence[OwnedWeight]
) -> ValueError:
    paths = [*dict.fromkeys(layers), *(w.path for w in weights)]
    near = difflib.get_close_matches(pattern, paths, n=5, cutoff=0.4)
    return ValueError(
        "`rules` must select weights by patterns of the paths of layers or "
        f"weights, such as {_some(near or paths)}. "
        f"Received: {pattern!r}, which matches none"
    )


def _some(paths: Sequence[str], count: int = 5) -> str:
    shown = ", ".join(f"'{path}'" for path in paths[:count])
    return shown + (", ..." if len(paths) > count else "")
