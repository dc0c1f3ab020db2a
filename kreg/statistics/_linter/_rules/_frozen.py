"""A regularizer on a weight that is not trained."""

from collections.abc import Iterator

from kreg.statistics._linter._tolerant import attribute
from kreg.statistics._linter._weight_facts import Fault, ModelFacts, WeightFacts


def frozen_weight(model: ModelFacts) -> Iterator[Fault]:
    """A regularizer that Keras leaves out, because its weight is frozen.

    Not where LoRA has frozen it, which moves the regularizer to its factors.
    """
    for weight in model.weights:
        if (
            weight.regularizer is None
            or weight.trained
            or weight.suspended
            or attribute(weight.layer, "lora_enabled")
        ):
            continue
        yield Fault(
            weight.path,
            "its regularizer acts on nothing, because the weight is frozen",
            f"set `{_switch(model, weight)}.trainable = True` and compile "
            "again, or take it off with "
            f"`{model.setting(weight, 'None')}`",
        )


def _switch(model: ModelFacts, weight: WeightFacts) -> str:
    """What is frozen: the model, the layer or the weight alone."""
    if not attribute(model.model, "trainable"):
        return "model"
    layer = model.layer_code(weight.layer)
    if layer is not None and not attribute(weight.layer, "trainable"):
        return layer
    return model.code(weight)
