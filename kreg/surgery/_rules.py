"""Rules that give regularizers to weights: reading and checking them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from kreg._types import Tensor
from kreg.surgery._owned_weights import OwnedWeight
from kreg.surgery._selectors import Selector, selected

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
    """What the rules give to which weights, in the order of the weights.

    Raises:
        TypeError: if `rules` is none, or a selector or a regularizer is not
            what it may be.
        ValueError: if a rule selects nothing.
    """
    given: dict[int, Regularizer | None] = {}
    for selector, regularizer in _pairs(rules, model):
        value = _regularizer(regularizer)
        for weight in selected(selector, model, weights):
            given[id(weight.variable)] = value
    return [
        Assignment(weight, given[id(weight.variable)])
        for weight in weights
        if id(weight.variable) in given
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
    return keras.regularizers.get(value)
