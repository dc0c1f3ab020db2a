"""Checks the penalties of a comparison, their strengths and their models."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from kreg.regularizers import L1, L1L2, L2, GroupLasso
from kreg.results.files import Weights
from kreg.selection.data.batches import evaluation_batches
from kreg.selection.data.rows import Arrays
from kreg.selection.strengths.grid import StrengthGrid, strength_grid
from kreg.selection.strengths.null_model import penalized_weights
from kreg.selection.strengths.penalty_family import penalty_family
from kreg.selection.training.gradient import rows_at_once
from kreg.selection.training.models import (
    architecture,
    make_proximal,
    new_model,
    refuse_other_architecture,
)
from kreg.selection.training.point import evaluated_metrics
from kreg.selection.training.stopping import (
    METRICS_OF_ALL_MODELS,
    refuse_unknown_monitor,
)

NO_PENALTY = "none"


def named_penalties(penalties: Any) -> dict[str, Any]:
    """The penalties of `kreg.compare` by name, with None for no penalty.

    Raises:
        TypeError: if one is not a penalty.
        ValueError: if there is no penalty, or two have one name.
    """
    if penalties is None:
        return {
            NO_PENALTY: None,
            "L1": L1,
            "L2": L2,
            "L1L2": L1L2,
            "GroupLasso": GroupLasso,
        }
    if isinstance(penalties, Mapping):
        named = list(penalties.items())
    elif isinstance(penalties, Iterable) and not isinstance(penalties, str):
        named = [(_name(penalty), penalty) for penalty in penalties]
    else:
        raise TypeError(
            "`penalties` must be a mapping from names to functions "
            "`strength -> penalty`, or an iterable of them. "
            f"Received: penalties={penalties!r}"
        )
    names = [name for name, _ in named]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`penalties` must hold at least one penalty, and each name once: "
            "pass a mapping if functions have the same name. "
            f"Received: the names {names}"
        )
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(
            "`penalties` must have strings as names. "
            f"Received: the names {names}"
        )
    for _, penalty in named:
        if penalty is not None:
            penalty_family(penalty, "penalties")
    return dict(named)


def grids_by_name(
    strengths: Any, penalties: Mapping[str, Any]
) -> dict[str, StrengthGrid]:
    """The strengths of each penalty by name, except for no penalty.

    Args:
        strengths: as for `kreg.compare`.
        penalties: the penalties by name, with None for no penalty.

    Raises:
        TypeError: if a strength is not a number.
        ValueError: if a penalty has no strengths, or there is no penalty of
            that name.
    """
    names = [n for n, penalty in penalties.items() if penalty is not None]
    if not isinstance(strengths, Mapping):
        return dict.fromkeys(names, strength_grid(strengths))
    unknown = sorted(set(strengths) - set(penalties), key=str)
    if unknown:
        raise ValueError(
            "`strengths` must have names of `penalties` as keys. "
            f"Received: strengths for {unknown}, with the penalties "
            f"{list(penalties)}"
        )
    return {name: strength_grid(strengths.get(name, "auto")) for name in names}


def penalty_of(penalty: Any) -> Any:
    """The penalty for `kreg.path`; for no penalty, an L1 of strength 0."""
    return L1 if penalty is None else penalty


def penalty_text(penalty: Any) -> str:
    """A penalty in words."""
    return "no penalty" if penalty is None else penalty_family(penalty).text


def _name(penalty: Any) -> str:
    if penalty is None:
        return NO_PENALTY
    function = penalty[0] if isinstance(penalty, tuple) else penalty
    return str(getattr(function, "__name__", type(function).__name__))


def refuse_bad_models(
    build_model: Callable[[], keras.Model],
    penalties: Mapping[str, Any],
    train: Arrays,
    monitor: str,
    seed: int,
) -> keras.Model:
    """Raise if penalties cannot be compared on the models of `build_model`.

    Args:
        build_model: builds the models.
        penalties: the penalties by name.
        train: the rows to train on.
        monitor: the metric that the models must have.
        seed: the seed.

    Returns:
        An untrained model.

    Raises:
        TypeError: if `build_model` does not return models.
        ValueError: if it returns one model twice or two architectures, if a
            penalty acts on none of their weights, or if a model lacks the
            metric.
    """
    first, second = (new_model(build_model, seed) for _ in range(2))
    refuse_other_architecture(architecture(first), second)
    for name, penalty in penalties.items():
        if not penalized_weights(first, penalty_family(penalty_of(penalty))):
            raise ValueError(
                "`penalties` must act on trainable weights of the model. "
                f"Received: {name!r}, which acts on none"
            )
    if monitor not in METRICS_OF_ALL_MODELS:
        names = {*METRICS_OF_ALL_MODELS, *_figures(second, train.rows([0]))}
        refuse_unknown_monitor(monitor, names)
    return first


def figures_of_weights(
    build_model: Callable[[], keras.Model],
    penalty: Any,
    strength: float,
    weights: Weights,
    part: Any,
    seed: int,
) -> dict[str, float]:
    """The metrics of trained weights on some data.

    Args:
        build_model: builds the model.
        penalty: the penalty that it was trained with, or None.
        strength: the strength.
        weights: the weights, as `get_weights` returns them.
        part: the data: `Arrays`, or an iterable of batches.
        seed: the seed.
    """
    model = new_model(build_model, seed)
    family = penalty_family(penalty_of(penalty))
    family.attach(model)
    make_proximal(model)
    family.penalty.multiplier = strength
    model.set_weights(weights)
    return _figures(model, part)


def _figures(model: keras.Model, part: Any) -> dict[str, float]:
    if isinstance(part, Arrays):
        part = evaluation_batches(part, rows_at_once(model))
    return evaluated_metrics(model, part)
