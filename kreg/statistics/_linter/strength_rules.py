"""Rules about strengths: 0 at the end, too large, or canceled by a layer."""

from collections.abc import Iterator
from functools import partial

import keras

from kreg._keras_private import weight_decay_of
from kreg.binding.binding import (
    BoundRegularizer,
    innermost_optimizer,
    weight_optimizers,
)
from kreg.binding.idle_penalties import has_trained
from kreg.foreign_objects import attribute_or_none, float_or_nan, result_or_none
from kreg.layers.table import is_linear, undoes_scale
from kreg.layers.weights import layouts_of
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.statistics._linter.layer_consumers import LayerConsumers
from kreg.statistics._linter.model_facts import Fault, ModelFacts, WeightFacts
from kreg.statistics._penalties import weight_penalty


def zero_at_the_end(model: ModelFacts) -> Iterator[Fault]:
    """A schedule or multiplier that makes a strength 0 at the end."""
    ramp = max(1, (model.course.steps or 2000) // 2)
    for weight in model.weights:
        penalty = weight.regularizer
        if not weight.is_penalized or not isinstance(
            penalty, StrengthRegularizer
        ):
            continue
        if penalty.multiplier == 0.0:
            if model.in_fit:
                continue  # a callback may be about to change it
            yield Fault(
                weight.path,
                f"the multiplier of its {type(penalty).__name__} is 0, so the "
                "penalty does not act unless a callback changes it",
                "call `kreg.bind(model)` and set "
                f"`{model.penalty_code(weight)}.multiplier = 1.0`",
            )
            continue
        for name in penalty.strength_names():
            if model.course.is_zero_at_the_end(penalty, name):
                yield Fault(
                    weight.path,
                    f"the schedule of `{name}` of its "
                    f"{type(penalty).__name__} is 0 {model.course.end}, so "
                    "it does not affect the minimum that training reaches",
                    "let it end above 0, such as "
                    f"`kreg.schedules.LinearRamp(0.0, 1e-4, steps={ramp})`",
                )


def schedule_at_rest(model: ModelFacts) -> Iterator[Fault]:
    """A schedule that stays at its first step while its model is trained."""
    if not has_trained(model.model):
        return
    for weight in model.weights:
        bound = weight.variable.regularizer
        if (
            not weight.is_penalized
            or weight.idleness is not None
            or not isinstance(bound, BoundRegularizer)
            or not bound.penalty.is_scheduled
            or not _is_at_rest(_clock_of(bound))
        ):
            continue
        yield Fault(
            weight.path,
            f"the schedule of its {type(weight.regularizer).__name__} rests at "
            "step 0, because the optimizer that it follows makes no updates",
            "call `kreg.bind(model, optimizer)` with the optimizer that "
            "updates the weight",
        )


def _clock_of(bound: BoundRegularizer) -> keras.optimizers.Optimizer | None:
    """The optimizer whose updates the schedule of a weight follows."""
    optimizers = bound.binding.optimizers
    return optimizers.of(bound.weight) or next(iter(optimizers.leading), None)


def _is_at_rest(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Whether an optimizer has made no update in the steps so far.

    An optimizer that accumulates gradients, or skips infinite ones, is not
    reported, because its first update may be yet to come.
    """
    if optimizer is None:
        return True
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return False
    inner = innermost_optimizer(optimizer)
    return float_or_nan(
        attribute_or_none(optimizer, "iterations")
    ) == 0.0 and not attribute_or_none(inner, "gradient_accumulation_steps")


# The fix suggests penalties of this fraction of the data loss.
_SUGGESTED_FRACTION = 0.1


def penalty_exceeds_loss(model: ModelFacts) -> Iterator[Fault]:
    """Penalties that are larger than the data loss, the largest first."""
    if model.data_loss is None:
        return
    penalties = [(w, p) for w, p in _penalties(model) if p > 0.0]
    total, data = sum(p for _, p in penalties), abs(model.data_loss)
    if not total > data:
        return
    penalties.sort(key=lambda pair: -pair[1])
    fix = _fix(model, penalties[0][0], _SUGGESTED_FRACTION * data / total)
    for weight, _ in penalties:
        yield Fault(
            weight.path,
            f"the penalties come to {total:.4g}, more than the data loss of "
            f"{model.data_loss:.4g}",
            fix,
        )


def _penalties(model: ModelFacts) -> Iterator[tuple[WeightFacts, float]]:
    optimizers = weight_optimizers(model.model)
    layouts = layouts_of(model.model)
    for weight in model.weights:
        if weight.is_penalized:
            key = id(weight.variable)
            penalty = partial(
                weight_penalty,
                weight.variable,
                layouts.get(key),
                optimizers.step_of(key),
            )
            yield weight, float_or_nan(result_or_none(penalty))


def _fix(model: ModelFacts, largest: WeightFacts, factor: float) -> str:
    if factor == 0.0:
        return "lower the strengths"
    fix = (
        f"multiply the strengths by {factor:.1g}, which makes a tenth of the "
        "data loss"
    )
    if isinstance(largest.regularizer, StrengthRegularizer):
        code = model.penalty_code(largest)
        fix += (
            f", such as `{code}.multiplier *= {factor:.1g}` after "
            "`kreg.bind(model)`"
        )
    return fix


def l2_before_batch_norm(model: ModelFacts) -> Iterator[Fault]:
    """L2 on a kernel whose scale a BatchNormalization cancels.

    L2 beside L1 is not reported, because the zeros of L1 depend on the scale.
    """
    consumers: LayerConsumers | None = None
    for weight in model.weights:
        if (
            not weight.is_penalized
            or not weight.variable.name.endswith("kernel")
            or not _is_linear(weight.layer)
            or not model.shrinks_in_proportion(weight)
            or model.makes_zeros(weight)
        ):
            continue
        consumers = consumers or LayerConsumers(model.model)
        norms = consumers.of(weight.layer)
        if not norms or not all(map(undoes_scale, norms)):
            continue
        norm = model.layer_code(norms[0])
        instead = "" if norm is None else f", and regularize `{norm}.gamma`"
        yield Fault(
            weight.path,
            "its L2 penalty changes only the effective step, not what the "
            "layer can compute, because the BatchNormalization that it feeds "
            "cancels its scale",
            f"take it off with `{model.setting(weight, 'None')}`"
            f"{instead} if the outputs are to be small",
        )


def _is_linear(layer: keras.layers.Layer) -> bool:
    """Whether scaling the kernels of a layer only scales its outputs."""
    module = attribute_or_none(type(layer).call, "__module__") or ""
    return (
        is_linear(layer)
        and module.split(".")[0] == "keras"
        and attribute_or_none(layer, "activation") is keras.activations.linear
        and attribute_or_none(layer, "activity_regularizer") is None
        and not attribute_or_none(layer, "lora_enabled")
    )


def l2_and_weight_decay(model: ModelFacts) -> Iterator[Fault]:
    """An L2 penalty and the optimizer's weight decay on the same weight."""
    for weight in model.weights:
        optimizer = weight.optimizer
        if optimizer is None or not weight.is_penalized:
            continue
        name, decay = result_or_none(
            partial(weight_decay_of, optimizer.optimizer, weight.variable)
        ) or ("", 0.0)
        if not float_or_nan(decay) > 0.0 or not model.shrinks_in_proportion(
            weight
        ):
            continue
        off = f"set `{optimizer.code or 'optimizer'}.{name} = 0.0`"
        less = (
            "leave the L2 part out"
            if model.makes_zeros(weight)
            else f"take the penalty off with `{model.setting(weight, 'None')}`"
        )
        yield Fault(
            weight.path,
            f"both its L2 penalty and {name}={float_or_nan(decay):.6g} of "
            f"{optimizer.name} shrink it",
            f"keep one: {off} before training, or {less}",
        )
