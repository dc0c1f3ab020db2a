"""Models that are made to try something, not to be trained."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from kreg.selection._batches import evaluation_batches
from kreg.selection._building import (
    architecture,
    make_proximal,
    new_model,
    refuse_other_architecture,
)
from kreg.selection._compared_penalties import penalty_of
from kreg.selection._data import Arrays
from kreg.selection._known_monitors import (
    ALWAYS_KNOWN,
    refuse_unknown_monitor,
)
from kreg.selection._penalty_family import penalty_family
from kreg.selection._result_files import Weights
from kreg.selection._rows_at_once import rows_at_once
from kreg.selection._strength_max import penalized


def refuse_bad_models(
    build_model: Callable[[], keras.Model],
    penalties: Mapping[str, Any],
    train: Arrays,
    monitor: str,
    seed: int,
) -> str:
    """Raise if the models of `build_model` cannot be compared.

    Args:
        build_model: makes the models.
        penalties: the penalties by name.
        train: rows that they must take.
        monitor: a metric that they must have.
        seed: the seed.

    Returns:
        What tells their architecture from others.

    Raises:
        TypeError: if it makes no models.
        ValueError: if it makes one twice, or models of two architectures, a
            penalty goes on none of their weights, or there is no such metric.
    """
    first, second = (new_model(build_model, seed) for _ in range(2))
    known = architecture(first)
    refuse_other_architecture(known, second)
    for name, penalty in penalties.items():
        if not penalized(first, penalty_family(penalty_of(penalty))):
            raise ValueError(
                "`penalties` must go on trainable weights of the model. "
                f"Received: {name!r}, which goes on none"
            )
    if monitor not in ALWAYS_KNOWN:
        found = {*ALWAYS_KNOWN, *_figures(second, train.rows([0]))}
        refuse_unknown_monitor(monitor, found)
    return known


def figures_of_weights(
    build_model: Callable[[], keras.Model],
    penalty: Any,
    strength: float,
    weights: Weights,
    rows: Any,
    seed: int,
) -> dict[str, float]:
    """The metrics of trained weights on some rows.

    Args:
        build_model: makes the model.
        penalty: the penalty that it was trained with; None for none.
        strength: the strength.
        weights: what `get_weights` gave.
        rows: what to evaluate on: `Arrays`, or an iterable of batches.
        seed: the seed.
    """
    model = new_model(build_model, seed)
    family = penalty_family(penalty_of(penalty))
    family.attach(model)
    make_proximal(model)
    family.penalty.multiplier = strength
    model.set_weights(weights)
    return _figures(model, rows)


def _figures(model: keras.Model, rows: Any) -> dict[str, float]:
    if isinstance(rows, Arrays):
        rows = evaluation_batches(rows, rows_at_once(model))
    figures = model.evaluate(rows, verbose=0, return_dict=True)
    return {metric: float(value) for metric, value in figures.items()}
