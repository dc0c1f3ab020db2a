"""Which tracer knows which kind of layer or operation."""

from collections.abc import Mapping

from keras import layers

from kreg._keras_private import operation_kind
from kreg.layers.channels.activations import ELEMENTWISE_LAYERS
from kreg.layers.channels.arranging import (
    flatten,
    global_pooling,
    permute,
    repeat_vector,
    reshape,
    sequence,
    spatial,
    zero_padding,
)
from kreg.layers.channels.call import Call, Traced, Tracer, kept_whole
from kreg.layers.channels.channelwise import (
    activation_layer,
    batch_normalization,
    elementwise_operation,
    identity,
    normalization,
    parametric_relu,
    rescaling,
)
from kreg.layers.channels.depthwise import (
    depthwise_convolution,
    separable_convolution,
)
from kreg.layers.channels.merging import combining, concatenation, product
from kreg.layers.channels.mixing import (
    convolution,
    dense,
    embedding,
    transposed_convolution,
)
from kreg.layers.channels.network import Network
from kreg.layers.channels.recurrent import recurrent


def _all(tracer: Tracer, *kinds: type) -> dict[type, Tracer]:
    return dict.fromkeys(kinds, tracer)


# By the very class: a subclass may compute something else.
_LAYERS: Mapping[type, Tracer] = {
    layers.Dense: dense,
    **_all(convolution, layers.Conv1D, layers.Conv2D, layers.Conv3D),
    **_all(
        transposed_convolution,
        layers.Conv1DTranspose,
        layers.Conv2DTranspose,
        layers.Conv3DTranspose,
    ),
    **_all(
        depthwise_convolution, layers.DepthwiseConv1D, layers.DepthwiseConv2D
    ),
    **_all(
        separable_convolution, layers.SeparableConv1D, layers.SeparableConv2D
    ),
    layers.Embedding: embedding,
    **_all(recurrent, layers.LSTM, layers.GRU, layers.SimpleRNN),
    layers.BatchNormalization: batch_normalization,
    layers.Normalization: normalization,
    layers.PReLU: parametric_relu,
    layers.Rescaling: rescaling,
    **_all(activation_layer, layers.Activation, *ELEMENTWISE_LAYERS),
    **_all(
        identity,
        layers.ActivityRegularization,
        layers.AlphaDropout,
        layers.Dropout,
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.Identity,
        layers.SpatialDropout1D,
        layers.SpatialDropout2D,
        layers.SpatialDropout3D,
    ),
    **_all(
        spatial,
        layers.AveragePooling1D,
        layers.AveragePooling2D,
        layers.AveragePooling3D,
        layers.Cropping2D,
        layers.Cropping3D,
        layers.MaxPooling1D,
        layers.MaxPooling2D,
        layers.MaxPooling3D,
        layers.UpSampling2D,
        layers.UpSampling3D,
    ),
    **_all(sequence, layers.Cropping1D, layers.UpSampling1D),
    **_all(
        zero_padding,
        layers.ZeroPadding1D,
        layers.ZeroPadding2D,
        layers.ZeroPadding3D,
    ),
    **_all(
        global_pooling,
        layers.GlobalAveragePooling1D,
        layers.GlobalAveragePooling2D,
        layers.GlobalAveragePooling3D,
        layers.GlobalMaxPooling1D,
        layers.GlobalMaxPooling2D,
        layers.GlobalMaxPooling3D,
    ),
    layers.Flatten: flatten,
    layers.Permute: permute,
    layers.Reshape: reshape,
    layers.RepeatVector: repeat_vector,
    layers.Concatenate: concatenation,
    layers.Add: combining(lambda values: values.sum(axis=0)),
    layers.Average: combining(lambda values: values.mean(axis=0)),
    layers.Maximum: combining(lambda values: values.max(axis=0)),
    layers.Minimum: combining(lambda values: values.min(axis=0)),
    layers.Multiply: combining(product),
    layers.Subtract: combining(lambda values: values[0] - values[1]),
}

_COMBINING: Mapping[str, Tracer] = {
    "Add": _LAYERS[layers.Add],
    "Concatenate": concatenation,
    "Maximum": _LAYERS[layers.Maximum],
    "Minimum": _LAYERS[layers.Minimum],
    "Multiply": _LAYERS[layers.Multiply],
    "Subtract": _LAYERS[layers.Subtract],
}
_ELEMENTWISE = frozenset(
    (
        *("Absolute", "Add", "Celu", "Clip", "Cos", "Divide", "Elu", "Exp"),
        *("Gelu", "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu"),
        *("LogSigmoid", "Maximum", "Minimum", "Multiply", "Negative"),
        *("Power", "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Sin"),
        *("Softplus", "Softsign", "Sqrt", "Square", "Subtract", "Tanh"),
        "TrueDivide",
    )
)


def traced(call: Call, network: Network) -> Traced:
    """What a call does to the channels of a network."""
    kind = operation_kind(call.operation)
    if kind is None:
        tracer = _LAYERS.get(type(call.operation), kept_whole)
    elif len(call.signals) > 1 and kind in _COMBINING:
        tracer = _COMBINING[kind]
    elif len(call.signals) == 1 and kind in _ELEMENTWISE:
        tracer = elementwise_operation
    else:
        tracer = kept_whole
    return tracer(call, network)
