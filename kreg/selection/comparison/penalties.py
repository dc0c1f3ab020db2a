"""The penalties of a comparison by name, and the models that they go on."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from kreg.regularizers import L1, L1L2, L2, GroupLasso
from kreg.results.files import Weights
from kreg.selection.data.batches import evaluation_batches
from kreg.selection.data.rows import Arrays
from kreg.selection.strengths.grid import StrengthGrid, strength_grid
from kreg.selection.strengths.penalty_family import penalty_family
from kreg.selection.strengths.strength_max import penalized
from kreg.selection.training.gradient import rows_at_once
from kreg.selection.training.models import (
    architecture,
    make_proximal,
    new_model,
    refuse_other_architecture,
)
from kreg.selection.training.stopping import (
    ALWAYS_KNOWN,
    refuse_unknown_monitor,
)

NO_PENALTY = "none"


def named_penalties(penalties: Any) -> dict[str, Any]:
    """The penalties by name; None for no penalty.

    Raises:
        TypeError: if they are no penalties.
        ValueError: if there are none, or two of one name.
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
            "`penalties` must hold one penalty at least, and each name once: "
            "give a mapping where functions have the same name. "
            f"Received: the names {names}"
        )
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(
            "`penalties` must have strings as names. "
            f"Received: the names {names}"
        )
    for _, penalty in named:
        if penalty is not None:
            penalty_family(penalty)
    return dict(named)


def grids_by_name(
    strengths: Any, penalties: Mapping[str, Any]
) -> dict[str, StrengthGrid]:
    """The strengths of each penalty that has one.

    Args:
        strengths: as of `kreg.compare`.
        penalties: the penalties by name; None for no penalty.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if there are none for a penalty, or for what is none.
    """
    names = [n for n, penalty in penalties.items() if penalty is not None]
    if not isinstance(strengths, Mapping):
        return dict.fromkeys(names, strength_grid(strengths))
    unknown = sorted(set(strengths) - set(penalties))
    if unknown:
        raise ValueError(
            "`strengths` must be for names of `penalties`. "
            f"Received: strengths for {unknown}, with the penalties "
            f"{list(penalties)}"
        )
    return {name: strength_grid(strengths.get(name, "auto")) for name in names}


def penalty_of(penalty: Any) -> Any:
    """What `kreg.path` takes; no penalty is one of strength 0."""
    return L1 if penalty is None else penalty


def penalty_text(penalty: Any) -> str:
    """What a penalty is, in words."""
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
    """Raise if the models of `build_model` cannot be compared.

    Args:
        build_model: makes the models.
        penalties: the penalties by name.
        train: rows that they must take.
        monitor: a metric that they must have.
        seed: the seed.

    Returns:
        A model, which was not trained.

    Raises:
        TypeError: if it makes no models.
        ValueError: if it makes one twice, or models of two architectures, a
            penalty goes on none of their weights, or there is no such metric.
    """
    first, second = (new_model(build_model, seed) for _ in range(2))
    refuse_other_architecture(architecture(first), second)
    for name, penalty in penalties.items():
        if not penalized(first, penalty_family(penalty_of(penalty))):
            raise ValueError(
                "`penalties` must go on trainable weights of the model. "
                f"Received: {name!r}, which goes on none"
            )
    if monitor not in ALWAYS_KNOWN:
        names = {*ALWAYS_KNOWN, *_figures(second, train.rows([0]))}
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
    """The metrics of trained weights on some rows.

    Args:
        build_model: makes the model.
        penalty: the penalty that it was trained with; None for none.
        strength: the strength.
        weights: what `get_weights` gave.
        part: what to evaluate on: `Arrays`, or an iterable of batches.
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
    figures = model.evaluate(part, verbose=0, return_dict=True)
    return {metric: float(value) for metric, value in figures.items()}
