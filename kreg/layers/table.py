"""The table of Keras's layers: a row for each kind."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import keras
from keras import layers

from kreg._keras_private import ConvLSTMCell, operation_kind
from kreg.layers import (
    _arranging,
    _attention,
    _contracting,
    _convolution,
    _dense,
    _elementwise,
    _embedding,
    _merging,
    _normalization,
    _normalization_across,
    _recurrent,
    _wrappers,
)
from kreg.layers._operations import operation_tracer
from kreg.layers.channels.activations import ELEMENTWISE_LAYERS
from kreg.layers.channels.call import (
    Call,
    Traced,
    Tracer,
    along_one_axis,
    kept_whole,
)
from kreg.layers.channels.network import Network
from kreg.layers.channels.rearranging import moved
from kreg.regularizers.grouping import UnitsAndInputs

Axes: TypeAlias = Callable[
    [keras.layers.Layer, str, Sequence[int]], UnitsAndInputs | None
]
"""A function of a layer, and of the name and shape of one of its weights."""

MultiplyAdds: TypeAlias = Callable[[Any, list[Any], tuple[int, ...]], int]
"""A function of a layer, of a call's arguments and of the output's shape."""


@dataclass(frozen=True)
class LayerRow:
    """The functions and facts that kreg has for a kind of layer.

    Args:
        kinds: the classes of the kind. Its subclasses have the row too, except
            for `channels`, because they may compute something else.
        axes: function that returns the units and inputs of a weight, None for a
            weight without any. Defaults to `None`: not known.
        multiply_adds: function that counts the products with weights in one
            call for one example, without those of layers inside. Defaults to
            `None`: not known.
        channels: function that follows channels through a call. Defaults to
            `None`: all channels are kept.
        any_axes: bool, whether `channels` takes channels along several axes.
            Defaults to `False`: it is given those along the last axis alone.
        is_linear: bool, whether scaling its kernels scales its outputs, apart
            from bias and activation. Defaults to `False`.
        undoes_scale: function of a layer that returns whether its outputs in
            training are independent of the scale of its inputs. Defaults to
            `None`: they depend on it.
    """

    kinds: tuple[type, ...]
    axes: Axes | None = None
    multiply_adds: MultiplyAdds | None = None
    channels: Tracer | None = None
    any_axes: bool = False
    is_linear: bool = False
    undoes_scale: Callable[[Any], bool] | None = None


def _no_products(layer: Any, arguments: Any, output: Any) -> int:
    """The count of a layer whose weights only scale, shift or are looked up."""
    return 0


def _in_each_step(call: Call, network: Network) -> Traced:
    """A `TimeDistributed`: the layer inside has a row of its own."""
    return _wrappers.in_each_step(call, network, traced)


# If a layer is an instance of several rows, the first one counts.
TABLE: tuple[LayerRow, ...] = (
    LayerRow(
        (layers.Dense,),
        axes=_dense.dense_axes,
        multiply_adds=_dense.dense_multiply_adds,
        channels=_dense.dense_channels,
        is_linear=True,
    ),
    LayerRow(
        (layers.EinsumDense,),
        axes=_dense.einsum_axes,
        multiply_adds=_dense.einsum_multiply_adds,
        channels=_dense.einsum_channels,
        any_axes=True,
        is_linear=True,
    ),
    LayerRow(
        (layers.Embedding,),
        axes=_embedding.embedding_axes,
        multiply_adds=_no_products,
        channels=_embedding.embedding_channels,
    ),
    LayerRow(
        (
            layers.Conv1DTranspose,
            layers.Conv2DTranspose,
            layers.Conv3DTranspose,
        ),
        axes=_convolution.transposed_axes,
        multiply_adds=_convolution.transposed_multiply_adds,
        channels=_convolution.transposed_channels,
        is_linear=True,
    ),
    LayerRow(
        (layers.Conv1D, layers.Conv2D, layers.Conv3D),
        axes=_convolution.convolution_axes,
        multiply_adds=_convolution.convolution_multiply_adds,
        channels=_convolution.convolution_channels,
        is_linear=True,
    ),
    LayerRow(
        (layers.DepthwiseConv1D, layers.DepthwiseConv2D),
        axes=_convolution.depthwise_axes,
        multiply_adds=_convolution.depthwise_multiply_adds,
        channels=_convolution.depthwise_channels,
        is_linear=True,
    ),
    LayerRow(
        (layers.SeparableConv1D, layers.SeparableConv2D),
        axes=_convolution.separable_axes,
        multiply_adds=_convolution.separable_multiply_adds,
        channels=_convolution.separable_channels,
        is_linear=True,
    ),
    # The weights of a recurrent layer belong to its cell.
    LayerRow((layers.SimpleRNNCell,), axes=_recurrent.cell_axes(gates=1)),
    LayerRow((layers.GRUCell,), axes=_recurrent.cell_axes(gates=3)),
    LayerRow(
        (layers.LSTMCell, ConvLSTMCell), axes=_recurrent.cell_axes(gates=4)
    ),
    LayerRow(
        _recurrent.RECURRENT_LAYERS,
        multiply_adds=_recurrent.recurrent_multiply_adds,
        channels=_recurrent.recurrent_channels,
    ),
    LayerRow(
        (layers.RNN,),
        multiply_adds=_recurrent.recurrent_multiply_adds,
        channels=_recurrent.other_cells,
    ),
    LayerRow((layers.Bidirectional,), channels=_wrappers.both_directions),
    LayerRow((layers.TimeDistributed,), channels=_in_each_step),
    LayerRow(
        (layers.SpectralNormalization,),
        multiply_adds=_no_products,
        channels=_wrappers.spectral_normalization,
    ),
    LayerRow(
        (layers.MultiHeadAttention, layers.GroupQueryAttention),
        multiply_adds=_attention.attention_multiply_adds,
        channels=_attention.attention_channels,
    ),
    LayerRow((layers.Attention,), channels=_contracting.attention),
    LayerRow(
        (layers.BatchNormalization,),
        axes=_normalization.normalization_axes,
        multiply_adds=_no_products,
        channels=_normalization.batch_normalization_channels,
        undoes_scale=_normalization.undoes_scale,
    ),
    LayerRow(
        (layers.LayerNormalization,),
        axes=_normalization.normalization_axes,
        multiply_adds=_no_products,
        channels=_normalization_across.layer_normalization_channels,
    ),
    LayerRow(
        (layers.GroupNormalization,),
        axes=_normalization.normalization_axes,
        multiply_adds=_no_products,
        channels=_normalization_across.group_normalization_channels,
    ),
    LayerRow(
        (layers.RMSNormalization,),
        axes=_normalization.normalization_axes,
        multiply_adds=_no_products,
        channels=_normalization_across.rms_normalization_channels,
    ),
    LayerRow(
        (layers.UnitNormalization,),
        channels=_normalization_across.unit_normalization_channels,
    ),
    LayerRow(
        (layers.Normalization,),
        multiply_adds=_no_products,
        channels=_normalization.feature_normalization_channels,
    ),
    LayerRow(
        (layers.PReLU,),
        multiply_adds=_no_products,
        channels=_elementwise.parametric_relu,
    ),
    LayerRow(
        (layers.Rescaling,), channels=_elementwise.rescaling, any_axes=True
    ),
    LayerRow(
        (layers.Activation, *ELEMENTWISE_LAYERS),
        channels=_elementwise.activation_layer,
        any_axes=True,
    ),
    LayerRow(
        (layers.Lambda,), channels=_elementwise.function_layer, any_axes=True
    ),
    LayerRow(
        (
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
        channels=_elementwise.identity,
        any_axes=True,
    ),
    LayerRow(
        (
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
        channels=_arranging.spatial,
    ),
    LayerRow(
        (layers.Cropping1D, layers.UpSampling1D), channels=_arranging.sequence
    ),
    LayerRow(
        (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
        channels=_arranging.zero_padding,
    ),
    LayerRow(
        (
            layers.GlobalAveragePooling1D,
            layers.GlobalAveragePooling2D,
            layers.GlobalAveragePooling3D,
            layers.GlobalMaxPooling1D,
            layers.GlobalMaxPooling2D,
            layers.GlobalMaxPooling3D,
        ),
        channels=_arranging.global_pooling,
    ),
    LayerRow((layers.Reshape,), channels=_arranging.reshape, any_axes=True),
    LayerRow(
        (layers.Flatten, layers.Permute, layers.RepeatVector),
        channels=moved,
        any_axes=True,
    ),
    LayerRow((layers.Dot,), channels=_contracting.dot_layer, any_axes=True),
    LayerRow((layers.Softmax,), channels=_contracting.softmax, any_axes=True),
    LayerRow(
        (layers.Concatenate,), channels=_merging.concatenation, any_axes=True
    ),
    LayerRow((layers.Add,), channels=_merging.total, any_axes=True),
    LayerRow((layers.Average,), channels=_merging.mean, any_axes=True),
    LayerRow((layers.Maximum,), channels=_merging.largest, any_axes=True),
    LayerRow((layers.Minimum,), channels=_merging.smallest, any_axes=True),
    LayerRow((layers.Multiply,), channels=_merging.product, any_axes=True),
    LayerRow((layers.Subtract,), channels=_merging.difference, any_axes=True),
)

_rows: dict[type, LayerRow] = {
    kind: row for row in TABLE if row.channels for kind in row.kinds
}


def rows_of(layer: object) -> Iterator[LayerRow]:
    """The rows that `layer` is an instance of, in the order of the table."""
    return (row for row in TABLE if isinstance(layer, row.kinds))


def axes_of(layer: keras.layers.Layer) -> Axes | None:
    """The function that returns a weight's units and inputs, if any."""
    return next((row.axes for row in rows_of(layer) if row.axes), None)


def multiply_adds_of(layer: keras.layers.Layer) -> MultiplyAdds | None:
    """The function that counts the products in a layer's call, if any."""
    counts = (row.multiply_adds for row in rows_of(layer) if row.multiply_adds)
    return next(counts, None)


def is_linear(layer: keras.layers.Layer) -> bool:
    """Whether scaling a layer's kernels scales its outputs.

    Bias and activation are ignored.
    """
    return any(row.is_linear for row in rows_of(layer))


def undoes_scale(consumer: object) -> bool:
    """Whether a layer or operation cancels the scale of its inputs."""
    return any(
        row.undoes_scale(consumer)
        for row in rows_of(consumer)
        if row.undoes_scale
    )


def traced(call: Call, network: Network) -> Traced:
    """Follow the channels of a network through a call."""
    kind = operation_kind(call.operation)
    if kind is not None:
        tracer = operation_tracer(kind, len(call.node.input_tensors))
        return tracer(call, network)
    row = _rows.get(type(call.operation))
    if row is None or row.channels is None:
        return kept_whole(call, network)
    if not row.any_axes:
        signals = [along_one_axis(operand, network) for operand in call.signals]
        call = replace(call, signals=signals)
    return row.channels(call, network)
