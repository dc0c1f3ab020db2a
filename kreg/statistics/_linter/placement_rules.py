"""Rules about regularizers that do not act, or that are not saved."""

from collections.abc import Iterator
from typing import Any

from kreg.binding.attached import RESTORE, is_recorded, unrestored
from kreg.binding.idle_penalties import Idleness
from kreg.foreign_objects import attribute_or_none
from kreg.layers.weights import attribute_of, is_built_by_keras
from kreg.regularizers import Penalty
from kreg.statistics._linter.model_facts import Fault, ModelFacts, WeightFacts


def attribute_without_effect(model: ModelFacts) -> Iterator[Fault]:
    """A regularizer that was set on a built layer, but not on its weight."""
    for weight in model.weights:
        name, of_layer = _layer_attribute(weight)
        if name is None or of_layer is None or of_layer is weight.regularizer:
            continue
        layer, code = model.layer_code(weight.layer), model.code(weight)
        yield Fault(
            weight.path,
            f"`{name}` of its layer acts on nothing, because a layer reads it "
            "only when it is built",
            f"set `{code}.regularizer = {layer}.{name}` and compile again"
            if layer
            else f"set it as `{code}.regularizer` and compile again",
        )


def regularizer_not_saved(model: ModelFacts) -> Iterator[Fault]:
    """A regularizer that was set on a weight, but not on its layer."""
    for weight in model.weights:
        if weight.regularizer is None or not is_built_by_keras(weight.layer):
            continue
        if is_recorded(weight.variable):
            continue  # beside the layers, in the model's file
        name, of_layer = _layer_attribute(weight)
        if of_layer is weight.regularizer:
            continue
        if name is not None and of_layer is not None:
            continue  # a fault of `attribute_without_effect`
        layer = model.layer_code(weight.layer)
        if name is None:
            if type(weight.layer).__module__.split(".")[0] != "keras":
                continue  # its own constructor may set it
            yield Fault(
                weight.path,
                "its regularizer acts but will not be saved, because its "
                "layer has no attribute for it",
                "set it again on the loaded model",
            )
            continue
        yield Fault(
            weight.path,
            f"its regularizer acts but will not be saved, because `{name}` of "
            "its layer is None",
            f"set `{layer}.{name} = {model.code(weight)}.regularizer`"
            if layer
            else f"set it as `{name}` of the layer, too",
        )


def not_restored(model: ModelFacts) -> Iterator[Fault]:
    """A regularizer that `load_model` could not restore."""
    for one in unrestored(model.model):
        yield Fault(
            one.path,
            "its regularizer is in the file that was loaded, but does not act: "
            f"{one.reason.rstrip('.')}",
            f"{RESTORE[0].lower()}{RESTORE[1:]}",
        )


def _layer_attribute(weight: WeightFacts) -> tuple[str | None, Any]:
    """The layer's attribute for the regularizer of a weight, and its value."""
    name = attribute_of(weight.layer, weight.variable.name)
    return name, None if name is None else attribute_or_none(weight.layer, name)


def frozen_weight(model: ModelFacts) -> Iterator[Fault]:
    """A regularizer that Keras ignores because its weight is frozen.

    Weights that LoRA has frozen are not reported, because LoRA moves the
    regularizer to its own factors.
    """
    for weight in model.weights:
        if (
            weight.regularizer is None
            or weight.trained
            or weight.suspended
            or attribute_or_none(weight.layer, "lora_enabled")
        ):
            continue
        yield Fault(
            weight.path,
            "its regularizer acts on nothing, because the weight is frozen",
            f"set `{_frozen_part(model, weight)}.trainable = True` and compile "
            "again, or take it off with "
            f"`{model.setting(weight, 'None')}`",
        )


def _frozen_part(model: ModelFacts, weight: WeightFacts) -> str:
    """An expression for the frozen model, layer or weight."""
    if not attribute_or_none(model.model, "trainable"):
        return "model"
    layer = model.layer_code(weight.layer)
    if layer is not None and not attribute_or_none(weight.layer, "trainable"):
        return layer
    return model.code(weight)


def never_acts(model: ModelFacts) -> Iterator[Fault]:
    """A penalty that no training step so far has applied.

    The steps of a bound model record which penalties they evaluate, which
    weights they update and which proximal steps they take.
    """
    for weight in model.weights:
        if weight.idleness is None or not weight.is_penalized:
            continue
        name = type(weight.regularizer).__name__
        if weight.idleness is Idleness.NOT_UPDATED:
            yield Fault(
                weight.path,
                f"its {name} never acts, because the training step does not "
                "update the weight",
                f"take it off with `{model.setting(weight, 'None')}`, or let "
                "an optimizer update the weight",
            )
        elif weight.idleness is Idleness.UNREAD:
            yield Fault(
                weight.path,
                f"its {name} never acts, because the loss of the training step "
                "leaves out `model.losses`",
                "add `sum(model.losses)` to the loss" + _or_proximal(weight),
            )
        else:
            yield Fault(
                weight.path,
                f"its {name} never acts, because a ProximalOptimizer is to "
                "apply it, but another optimizer updates the weight",
                "call `kreg.bind(model, optimizer)` with the optimizer that "
                "updates it",
            )


def _or_proximal(weight: WeightFacts) -> str:
    if isinstance(weight.regularizer, Penalty):
        return ", or update the weight by a `kreg.ProximalOptimizer`"
    return ""
