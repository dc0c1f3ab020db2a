"""Rules about exact zeros that never appear or are lost."""

from collections.abc import Iterator
from functools import partial

import keras
from keras import ops

from kreg.foreign_objects import attribute_or_none, float_or_nan, result_or_none
from kreg.optimizers.table import effective_step_rule
from kreg.regularizers import Penalty
from kreg.statistics._linter.model_facts import Fault, ModelFacts, WeightFacts
from kreg.statistics._linter.weight_optimizer import WeightOptimizer
from kreg.statistics.rows import keras_strengths


def no_exact_zeros(model: ModelFacts) -> Iterator[Fault]:
    """A penalty that could make zeros, but no optimizer takes its step."""
    for weight in model.weights:
        optimizer = weight.optimizer
        if optimizer is None or not weight.is_penalized:
            continue
        is_kreg = isinstance(weight.regularizer, Penalty)
        if is_kreg and optimizer.applies_penalties:
            continue
        if not model.makes_zeros(weight):
            continue
        name = type(weight.regularizer).__name__
        if is_kreg:
            yield Fault(
                weight.path,
                f"{name} makes no exact zeros under {optimizer.name} alone, "
                "only small weights",
                f"compile with {_proximal(optimizer)}, which takes its "
                "proximal step",
            )
        elif optimizer.applies_penalties:
            yield Fault(
                weight.path,
                f"keras.regularizers.{name} makes no exact zeros even under "
                "ProximalOptimizer, because it stays in the gradient",
                f"{_replacement(model, weight)} and compile again",
            )
        else:
            yield Fault(
                weight.path,
                f"keras.regularizers.{name} makes no exact zeros, only small "
                "weights",
                f"{_replacement(model, weight)} and compile with "
                f"{_proximal(optimizer)}",
            )


def averages_undo_zeros(model: ModelFacts) -> Iterator[Fault]:
    """Moving averages of weights that will replace their exact zeros."""
    for weight in model.weights:
        optimizer = weight.optimizer
        if (
            optimizer is None
            or optimizer.applies_penalties
            or not weight.trained
            or not attribute_or_none(optimizer.optimizer, "use_ema")
        ):
            continue
        if _keeps_zeros(weight):
            kept = "exact zeros that its constraint keeps"
        elif (
            weight.is_penalized
            and isinstance(weight.regularizer, Penalty)
            and model.makes_zeros(weight)
        ):
            kept = "exact zeros that its penalty is to make"
        else:
            continue
        yield Fault(
            weight.path,
            f"use_ema=True of {optimizer.name} replaces weights by their "
            f"moving averages, which are not 0, and so undoes the {kept}",
            f"{_without_averages(optimizer)}compile with "
            f"{_proximal(optimizer)}, which keeps zeros",
        )


def _keeps_zeros(weight: WeightFacts) -> bool:
    """Whether the constraint of a weight keeps some of its entries at 0."""
    kept = attribute_or_none(weight.variable.constraint, "kept")
    if not callable(kept):
        return False
    ones = ops.ones(weight.variable.shape, weight.variable.dtype)
    stay = result_or_none(lambda: ops.convert_to_numpy(kept(ones)))
    return stay is not None and bool((stay == 0).any())


def _proximal(optimizer: WeightOptimizer) -> str:
    """An expression that wraps the optimizer; Adam if it cannot be wrapped."""
    parts = attribute_or_none(optimizer.unscaled, "optimizers") or [
        optimizer.optimizer
    ]
    overwrites = any(
        attribute_or_none(p, "ema_overwrite_frequency") for p in parts
    )
    has_effective_step = (
        result_or_none(partial(effective_step_rule, optimizer.optimizer))
        is not None
    )
    inner = (
        optimizer.unscaled_code
        if has_effective_step and not overwrites
        else '"adam"'
    )
    return f"`kreg.ProximalOptimizer({inner})`"


def _without_averages(optimizer: WeightOptimizer) -> str:
    if optimizer.code is None:
        return "leave out `use_ema`, or "
    return f"set `{optimizer.code}.use_ema = False`, or "


def _replacement(model: ModelFacts, weight: WeightFacts) -> str:
    strengths = keras_strengths(weight.regularizer)
    arguments = ", ".join(f"{n}={value:.6g}" for n, value in strengths.items())
    name = "L1" if len(strengths) == 1 else "L1L2"
    return f"set `{model.setting(weight, f'kreg.{name}({arguments})')}`"


def ftrl_first_step(model: ModelFacts) -> Iterator[Fault]:
    """Ftrl before its first step, on weights that are not all zero."""
    for weight in model.weights:
        if weight.optimizer is None or not weight.trained:
            continue
        ftrl = weight.optimizer.optimizer
        if (
            not isinstance(ftrl, keras.optimizers.Ftrl)
            or float_or_nan(attribute_or_none(ftrl, "iterations")) != 0.0
            or not float_or_nan(
                attribute_or_none(ftrl, "initial_accumulator_value")
            )
            > 0.0
            or weight.zeros is None
            or weight.zeros.all()
        ):
            continue
        yield Fault(
            weight.path,
            "the first step of Ftrl replaces its initial or pretrained values "
            "by a function of Ftrl's accumulators",
            "compile with `keras.optimizers.Adagrad()`, which starts from the "
            "weights",
        )
