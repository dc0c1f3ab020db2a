"""Rules of `kreg.attach`: which weights a selector selects."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import keras

from kreg._arguments import wrong_value
from kreg._keras_private import flatten_layers
from kreg._types import Tensor
from kreg.surgery.owned_weights import OwnedWeight, path_of

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
    """The weights that `selector` selects.

    Args:
        selector: a `Selector`, which is checked here.
        model: the model.
        weights: the weights of the model that can have a regularizer.

    Raises:
        TypeError: if `selector` is no `Selector`.
        ValueError: if it selects nothing.
    """
    layers = flatten_layers(model)
    if isinstance(selector, keras.Variable):
        chosen = [w for w in weights if w.variable is selector]
        if not chosen:
            raise _nothing_selected(repr(selector.path), weights)
    elif isinstance(selector, keras.layers.Layer):
        if not any(layer is selector for layer in layers):
            raise ValueError(
                "`rules` must name layers of the model. "
                f"Received: {selector!r}, which is not in `{model.name}`"
            )
        chosen = _kernels([selector], weights)
    elif isinstance(selector, type) and issubclass(
        selector, keras.layers.Layer
    ):
        chosen = _kernels(
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
            chosen = [w for w in weights if fnmatchcase(w.path, selector)]
        else:
            chosen = _kernels(matching, weights)
        if not chosen and not matching:
            paths = [layer.name for layer in layers]
            paths += [path_of(layer) for layer in layers]
            raise _unmatched_pattern(selector, paths, weights)
    elif callable(selector) and not isinstance(selector, type):
        chosen = [w for w in weights if selector(w.variable)]
    else:
        raise TypeError(
            "`rules` must select weights by a layer, a type of layer, a "
            "pattern of paths, a variable, or a function of a variable. "
            f"Received: {selector!r} (of type {type(selector).__name__})"
        )
    if not chosen:
        raise _nothing_selected(repr(selector), weights)
    return chosen


def _kernels(
    layers: Sequence[keras.layers.Layer], weights: Sequence[OwnedWeight]
) -> list[OwnedWeight]:
    """The kernels in `layers`, however deep, that are not frozen."""
    inside = {id(v) for layer in layers for v in layer.trainable_weights}
    return [w for w in weights if w.is_kernel and id(w.variable) in inside]


def _nothing_selected(
    received: str, weights: Sequence[OwnedWeight]
) -> ValueError:
    return ValueError(
        "`rules` must select weights. A layer, a type, or a pattern of layers "
        "selects kernels that are not frozen; name others by themselves, as "
        f"in `(layer.bias, regularizer)`. Received: {received}, which selects "
        f"nothing among {_first_few([w.path for w in weights])}"
    )


def _unmatched_pattern(
    pattern: str, layers: Sequence[str], weights: Sequence[OwnedWeight]
) -> ValueError:
    paths = [*dict.fromkeys(layers), *(w.path for w in weights)]
    near = difflib.get_close_matches(pattern, paths, n=5, cutoff=0.4)
    return ValueError(
        "`rules` must select weights by patterns of the paths of layers or "
        f"weights, such as {_first_few(near or paths)}. "
        f"Received: {pattern!r}, which matches none"
    )


def _first_few(paths: Sequence[str], count: int = 5) -> str:
    shown = ", ".join(f"'{path}'" for path in paths[:count])
    return shown + (", ..." if len(paths) > count else "")


Regularizer: TypeAlias = Callable[[Tensor], Tensor]
Rule: TypeAlias = tuple[Selector, Regularizer | str | None]
Rules: TypeAlias = (
    Regularizer
    | str
    | Mapping[Selector, Regularizer | str | None]
    | Iterable[Rule]
)


@dataclass(frozen=True)
class Assignment:
    """The regularizer that the rules give to a weight; None for none."""

    weight: OwnedWeight
    regularizer: Regularizer | None


def assignments_of(
    rules: Rules, model: keras.Model, weights: Sequence[OwnedWeight]
) -> list[Assignment]:
    """The regularizer for each weight that the rules select, in their order.

    Raises:
        TypeError: if `rules` are no rules, or hold anything but a selector or
            a regularizer in its place.
        ValueError: if a rule selects nothing.
    """
    regularizers: dict[int, Regularizer | None] = {}
    for selector, regularizer in _pairs(rules, model):
        value = _regularizer(regularizer)
        for weight in selected(selector, model, weights):
            regularizers[id(weight.variable)] = value
    return [
        Assignment(weight, regularizers[id(weight.variable)])
        for weight in weights
        if id(weight.variable) in regularizers
    ]


def _pairs(rules: Any, model: keras.Model) -> list[tuple[Any, Any]]:
    if isinstance(rules, Mapping):
        return list(rules.items())
    if _may_be_regularizer(rules):
        return [(model, rules)]
    if not isinstance(rules, Iterable) or isinstance(rules, keras.layers.Layer):
        raise TypeError(
            "`rules` must be a regularizer, or a mapping or an iterable of "
            "pairs `(selector, regularizer)`. "
            f"Received: rules={rules!r} (of type {type(rules).__name__})"
        )
    pairs = list(rules)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                "`rules` must hold pairs `(selector, regularizer)`; put a "
                f"single pair into a list. Received: rules with {pair!r}"
            )
    return [(selector, regularizer) for selector, regularizer in pairs]


def _may_be_regularizer(value: Any) -> bool:
    return isinstance(value, str) or (
        callable(value) and not isinstance(value, (type, keras.layers.Layer))
    )


def _regularizer(value: Any) -> Regularizer | None:
    if value is None:
        return None
    if not _may_be_regularizer(value):
        raise TypeError(
            "`rules` must give each selector a regularizer, such as "
            "`kreg.L1(1e-4)`, or None for none. "
            f"Received: {value!r} (of type {type(value).__name__})"
        )
    try:
        return keras.regularizers.get(value)
    except ValueError as error:
        raise wrong_value(
            "rules", "regularizers or their names", value
        ) from error
