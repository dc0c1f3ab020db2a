"""Rules about L2 that BatchNormalization undoes or weight decay doubles."""

from collections.abc import Iterator
from functools import partial

import keras

from kreg._keras_private import weight_decay_of
from kreg.foreign_objects import attribute_or_none, float_or_nan, result_or_none
from kreg.layers.table import is_linear, undoes_scale
from kreg.statistics._linter.layer_consumers import LayerConsumers
from kreg.statistics._linter.model_facts import Fault, ModelFacts


def l2_before_batch_norm(model: ModelFacts) -> Iterator[Fault]:
    """L2 on a kernel whose scale a BatchNormalization takes out again.

    L2 beside L1 is no fault, because the zeros of L1 depend on the scale.
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
            "takes out its scale",
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
