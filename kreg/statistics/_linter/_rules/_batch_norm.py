"""An L2 penalty whose pull a normalization undoes."""

from collections.abc import Iterator

import keras
from keras import layers

from kreg.statistics._linter._consumers import Consumers
from kreg.statistics._linter._tolerant import attribute
from kreg.statistics._linter._weight_facts import Fault, ModelFacts

_LINEAR_LAYERS = (
    layers.Dense,
    layers.EinsumDense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)


def l2_before_batch_norm(model: ModelFacts) -> Iterator[Fault]:
    """L2 on a kernel whose scale a BatchNormalization takes out again.

    Not L2 beside L1, whose zeros depend on the scale.
    """
    consumers: Consumers | None = None
    for weight in model.weights:
        if (
            not weight.is_penalized
            or not weight.variable.name.endswith("kernel")
            or not _is_linear(weight.layer)
            or not model.shrinks_in_proportion(weight)
            or model.makes_zeros(weight)
        ):
            continue
        consumers = consumers or Consumers(model.model)
        norms = consumers.of(weight.layer)
        if not norms or not all(map(_takes_scale_out, norms)):
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
    """Whether scaling the kernels of a layer only scales what it computes."""
    module = attribute(type(layer).call, "__module__") or ""
    return (
        isinstance(layer, _LINEAR_LAYERS)
        and module.split(".")[0] == "keras"
        and attribute(layer, "activation") is keras.activations.linear
        and attribute(layer, "activity_regularizer") is None
        and not attribute(layer, "lora_enabled")
    )


def _takes_scale_out(consumer: object) -> bool:
    """Not where it uses averages of the past, which do not follow at once."""
    return (
        isinstance(consumer, layers.BatchNormalization)
        and bool(attribute(consumer, "trainable"))
        and not attribute(consumer, "renorm")
    )
