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
from kreg.binding.ties import Tie, TiePart, ties_of
from kreg.layers.weights import path_of
from kreg.regularizers import Penalty
from kreg.surgery._ties.tying import Tying
from kreg.surgery.owned_weights import OwnedWeight

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
        TypeError: if `selector` is not a `Selector`.
        ValueError: if it selects nothing.
    """
    matching = _matching_layers(selector, model)
    if isinstance(selector, keras.Variable):
        chosen = [w for w in weights if w.variable is selector]
        if not chosen:
            raise _nothing_selected(repr(selector.path), weights)
    elif matching:
        chosen = _kernels(matching, weights)
    elif isinstance(selector, str):
        chosen = [w for w in weights if fnmatchcase(w.path, selector)]
        if not chosen:
            layers = flatten_layers(model)
            paths = [layer.name for layer in layers]
            paths += [path_of(layer) for layer in layers]
            raise _unmatched_pattern(selector, paths, weights)
    elif matching is not None:
        chosen = []
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


def _matching_layers(
    selector: Any, model: keras.Model
) -> list[keras.layers.Layer] | None:
    """The layers of `model` that `selector` names; None if it names no layers.

    Raises:
        ValueError: if it is a layer that is not in the model.
    """
    layers = flatten_layers(model)
    if isinstance(selector, keras.layers.Layer):
        if not any(layer is selector for layer in layers):
            raise ValueError(
                "`rules` must name layers of the model. "
                f"Received: {selector!r}, which is not in `{model.name}`"
            )
        return [selector]
    if isinstance(selector, type) and issubclass(selector, keras.layers.Layer):
        return [layer for layer in layers if isinstance(layer, selector)]
    if isinstance(selector, str):
        return [
            layer
            for layer in layers
            if fnmatchcase(path_of(layer), selector)
            or fnmatchcase(layer.name, selector)
        ]
    return None


def _selected_ties(
    selector: Any, model: keras.Model, penalty: Penalty, tying: Tying
) -> list[Tie]:
    """The ties of a penalty in the layers that `selector` selects.

    Raises:
        TypeError: if `selector` selects weights, not layers.
        ValueError: if it selects no layer with heads or channels to tie.
    """
    matching = _matching_layers(selector, model)
    if matching is None:
        raise TypeError(
            f"`rules` must select layers for {penalty!r}, which ties several "
            "weights: a layer, a type of layers, or a pattern of their names "
            f"and paths. Received: {selector!r} "
            f"(of type {type(selector).__name__})"
        )
    if not matching:
        raise ValueError(
            f"`rules` must select layers of the model for {penalty!r}. "
            f"Received: {selector!r}, which selects none among "
            f"{_first_few([path_of(layer) for layer in flatten_layers(model)])}"
        )
    return tying.ties(penalty, matching)


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
    """The regularizer that the rules give to a weight.

    Args:
        weight: the weight.
        regularizer: the user's own object, or None for none.
        part: the part of a tie that the weight is; None if the regularizer is
            on this weight alone.
    """

    weight: OwnedWeight
    regularizer: Regularizer | None
    part: TiePart | None = None

    @property
    def on_variable(self) -> Regularizer | None:
        """The regularizer of the variable."""
        return self.regularizer if self.part is None else self.part

    @property
    def in_attribute(self) -> Regularizer | None:
        """The regularizer for the attribute of the layer, which saves it.

        It is None for a tie, which no attribute of one layer can hold.
        """
        return self.regularizer if self.part is None else None


def assignments_of(
    rules: Rules,
    model: keras.Model,
    weights: Sequence[OwnedWeight],
    sample: Any = None,
) -> list[Assignment]:
    """The regularizer for each weight that the rules select, in their order.

    Args:
        rules: the rules.
        model: the model.
        weights: the weights of the model that can have a regularizer.
        sample: inputs of the model, for one whose inputs are not known from
            its layers. Defaults to `None`.

    Raises:
        TypeError: if `rules` are not rules, or a pair is not a selector and a
            regularizer.
        ValueError: if a rule selects nothing.
    """
    ties, tying = ties_of(model), Tying(model, weights, sample)
    chosen: dict[int, Regularizer | TiePart | None] = {}
    for selector, regularizer in _pairs(rules, model):
        value = _regularizer(regularizer)
        if isinstance(value, Penalty) and value.ties is not None:
            new = _selected_ties(selector, model, value, tying)
            chosen.update((id(p.variable), p) for tie in new for p in tie.parts)
            ties += new
        else:
            for weight in selected(selector, model, weights):
                chosen[id(weight.variable)] = value
    for tie in ties:
        # A tie is on all of its weights, or on none.
        own = {id(p.variable): chosen.get(id(p.variable), p) for p in tie.parts}
        if any(own[id(part.variable)] is not part for part in tie.parts):
            for part in tie.parts:
                if own[id(part.variable)] is part:
                    chosen[id(part.variable)] = None
    return [
        _assignment(weight, chosen[id(weight.variable)])
        for weight in weights
        if id(weight.variable) in chosen
    ]


def _assignment(
    weight: OwnedWeight, chosen: Regularizer | TiePart | None
) -> Assignment:
    if isinstance(chosen, TiePart):
        return Assignment(weight, chosen.penalty, chosen)
    return Assignment(weight, chosen)


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
