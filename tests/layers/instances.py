"""`LAYERS`: an instance of each kind of layer in the table, for the tests."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from keras import layers, ops


@dataclass(frozen=True)
class Instance:
    """A layer, and facts about it that were worked out by hand.

    Args:
        make: makes the layer.
        shape: the shape of one input, channels last.
        multiply_adds: the number of products in one call for one example.
        kernel: the name of the weight whose units are the output's channels
            and whose inputs are the input's channels; None if there is none.
        feeds_itself: whether units are also inputs, in the next time step.
        num_inputs: the number of tensors that the layer is called on.
        is_kept_whole: whether compaction takes no channels from it.
    """

    make: Callable[[], layers.Layer]
    shape: tuple[int, ...]
    multiply_adds: int = 0
    kernel: str | None = None
    feeds_itself: bool = False
    num_inputs: int = 1
    is_kept_whole: bool = False


LAYERS = {
    "dense": Instance(lambda: layers.Dense(5), (3,), 5 * 3, "kernel"),
    "dense at 7 places": Instance(lambda: layers.Dense(5), (7, 3), 7 * 5 * 3),
    "einsum": Instance(
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 4)),
        (7, 3),
        7 * 2 * 4 * 3,
        "kernel",
        is_kept_whole=True,
    ),
    "einsum over two axes": Instance(
        lambda: layers.EinsumDense("abcd,cde->abe", (None, 6)),
        (7, 2, 4),
        7 * 6 * 2 * 4,
        is_kept_whole=True,
    ),
    "convolution of sequences": Instance(
        lambda: layers.Conv1D(4, 2), (5, 3), 4 * 4 * 2 * 3, "kernel"
    ),
    "convolution": Instance(
        lambda: layers.Conv2D(5, 3), (8, 6, 2), 6 * 4 * 5 * 3 * 3 * 2, "kernel"
    ),
    "strides and padding": Instance(
        lambda: layers.Conv2D(5, 3, strides=2, padding="same"),
        (8, 6, 4),
        4 * 3 * 5 * 3 * 3 * 4,
    ),
    "dilation": Instance(
        lambda: layers.Conv1D(5, 3, dilation_rate=2), (9, 2), 5 * 5 * 3 * 2
    ),
    "two groups": Instance(
        lambda: layers.Conv2D(4, 3, groups=2),
        (8, 6, 6),
        6 * 4 * 4 * 3 * 3 * 3,
        "kernel",
        is_kept_whole=True,
    ),
    "as many groups as channels": Instance(
        lambda: layers.Conv2D(16, 3, groups=8),
        (8, 6, 8),
        6 * 4 * 16 * 3 * 3,
    ),
    "volume": Instance(
        lambda: layers.Conv3D(2, 2),
        (3, 4, 5, 6),
        2 * 3 * 4 * 2 * 8 * 6,
        "kernel",
    ),
    "transposed for sequences": Instance(
        lambda: layers.Conv1DTranspose(4, 2), (5, 3), 5 * 3 * 2 * 4, "kernel"
    ),
    "transposed": Instance(
        lambda: layers.Conv2DTranspose(5, 3, strides=2),
        (4, 6, 2),
        4 * 6 * 2 * 3 * 3 * 5,
        "kernel",
    ),
    "transposed for volumes": Instance(
        lambda: layers.Conv3DTranspose(2, 2),
        (2, 3, 2, 4),
        2 * 3 * 2 * 4 * 2 * 2 * 2 * 2,
        "kernel",
    ),
    "depthwise for sequences": Instance(
        lambda: layers.DepthwiseConv1D(3, depth_multiplier=2),
        (8, 4),
        6 * 4 * 2 * 3,
        "kernel",
    ),
    "depthwise": Instance(
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        (8, 6, 4),
        6 * 4 * 4 * 2 * 3 * 3,
        "kernel",
    ),
    "separable for sequences": Instance(
        lambda: layers.SeparableConv1D(5, 3, depth_multiplier=2),
        (8, 4),
        6 * (4 * 2 * 3 + 4 * 2 * 5),
    ),
    "separable": Instance(
        lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2),
        (8, 6, 4),
        6 * 4 * (4 * 2 * 3 * 3 + 4 * 2 * 5),
    ),
    "embedding": Instance(lambda: layers.Embedding(7, 8), (4,)),
    "simple recurrent": Instance(
        lambda: layers.SimpleRNN(5),
        (7, 3),
        7 * (3 * 5 + 5 * 5),
        "kernel",
        feeds_itself=True,
    ),
    "lstm": Instance(lambda: layers.LSTM(5), (7, 3), 7 * 4 * (3 * 5 + 5 * 5)),
    "lstm of sequences": Instance(
        lambda: layers.LSTM(5, return_sequences=True),
        (7, 3),
        7 * 4 * (3 * 5 + 5 * 5),
    ),
    "gru": Instance(
        lambda: layers.GRU(5),
        (7, 3),
        7 * 3 * (3 * 5 + 5 * 5),
        "kernel",
        feeds_itself=True,
    ),
    "both directions": Instance(
        lambda: layers.Bidirectional(layers.LSTM(5)),
        (7, 3),
        2 * 7 * 4 * (3 * 5 + 5 * 5),
    ),
    "stacked cells": Instance(
        lambda: layers.RNN([layers.LSTMCell(5), layers.GRUCell(2)]),
        (7, 3),
        7 * (4 * (3 * 5 + 5 * 5) + 3 * (5 * 2 + 2 * 2)),
        is_kept_whole=True,
    ),
    "recurrent convolution": Instance(
        lambda: layers.ConvLSTM2D(5, 3),
        (7, 8, 6, 2),
        7 * 6 * 4 * 4 * 5 * 9 * (2 + 5),
    ),
    "recurrent convolution of sequences": Instance(
        lambda: layers.ConvLSTM1D(5, 3),
        (7, 8, 2),
        7 * 6 * 4 * 5 * 3 * (2 + 5),
    ),
    "recurrent convolution of volumes": Instance(
        lambda: layers.ConvLSTM3D(5, 2),
        (3, 4, 3, 3, 2),
        3 * 3 * 2 * 2 * 4 * 5 * 8 * (2 + 5),
    ),
    "dense in time": Instance(
        lambda: layers.TimeDistributed(layers.Dense(5)),
        (7, 3),
        7 * 5 * 3,
    ),
    "dense under a spectral norm": Instance(
        lambda: layers.SpectralNormalization(layers.Dense(5)),
        (3,),
        5 * 3,
        is_kept_whole=True,
    ),
    "attention": Instance(
        lambda: layers.MultiHeadAttention(2, key_dim=3),
        (5, 8),
        4 * 5 * 8 * 2 * 3 + 2 * 5 * 5 * (3 + 3),
        num_inputs=2,
    ),
    "attention without weights": Instance(
        lambda: layers.Attention(), (5, 8), num_inputs=2
    ),
    "attention in groups": Instance(
        lambda: layers.GroupQueryAttention(3, 4, 2),
        (5, 8),
        2 * 5 * 8 * 3 * (4 + 2) + 2 * 5 * 5 * 4 * 3,
        num_inputs=2,
    ),
    "batch normalization": Instance(
        lambda: layers.BatchNormalization(), (8, 6, 4)
    ),
    "layer normalization": Instance(
        lambda: layers.LayerNormalization(), (6, 8), is_kept_whole=True
    ),
    "group normalization": Instance(
        lambda: layers.GroupNormalization(2), (6, 8), is_kept_whole=True
    ),
    "normalization of each channel": Instance(
        lambda: layers.GroupNormalization(-1), (6, 8)
    ),
    "rms normalization": Instance(
        lambda: layers.RMSNormalization(), (6, 8), is_kept_whole=True
    ),
    "unit normalization": Instance(
        lambda: layers.UnitNormalization(), (6, 8), is_kept_whole=True
    ),
    "feature normalization": Instance(
        lambda: layers.Normalization(mean=[0.5] * 8, variance=[2.0] * 8), (8,)
    ),
    "slopes": Instance(lambda: layers.PReLU(), (8, 6)),
    "rescaling": Instance(lambda: layers.Rescaling(2.0, 1.0), (8,)),
    "activation": Instance(lambda: layers.Activation("tanh"), (8,)),
    "function": Instance(lambda: layers.Lambda(ops.tanh), (8,)),
    "dropout": Instance(lambda: layers.Dropout(0.5), (8,)),
    "pooling": Instance(lambda: layers.MaxPooling2D(), (8, 6, 4)),
    "cropping": Instance(lambda: layers.Cropping1D(1), (8, 6)),
    "padding": Instance(lambda: layers.ZeroPadding2D(1), (4, 4, 8)),
    "pooling over all": Instance(
        lambda: layers.GlobalAveragePooling2D(), (4, 4, 8)
    ),
    "flatten": Instance(lambda: layers.Flatten(), (3, 8)),
    "permute": Instance(lambda: layers.Permute((2, 1, 3)), (3, 4, 8)),
    "softmax": Instance(lambda: layers.Softmax(), (8,), is_kept_whole=True),
    "reshape": Instance(lambda: layers.Reshape((12, 8)), (3, 4, 8)),
    "repeat": Instance(lambda: layers.RepeatVector(3), (8,)),
    "concatenate": Instance(lambda: layers.Concatenate(), (8,), num_inputs=2),
    "dot": Instance(lambda: layers.Dot(-1), (5, 8), num_inputs=2),
    "add": Instance(lambda: layers.Add(), (8,), num_inputs=2),
    "average": Instance(lambda: layers.Average(), (8,), num_inputs=2),
    "maximum": Instance(lambda: layers.Maximum(), (8,), num_inputs=2),
    "minimum": Instance(lambda: layers.Minimum(), (8,), num_inputs=2),
    "multiply": Instance(lambda: layers.Multiply(), (8,), num_inputs=2),
    "subtract": Instance(lambda: layers.Subtract(), (8,), num_inputs=2),
}

VECTOR, SEQUENCE, IMAGE, VOLUME = (8,), (4, 8), (4, 4, 8), (4, 4, 4, 8)
OTHERS = [
    (
        (layers.ActivityRegularization, layers.Identity, layers.ReLU),
        (),
        VECTOR,
    ),
    ((layers.ELU, layers.LeakyReLU), (0.5,), VECTOR),
    ((layers.AlphaDropout, layers.GaussianDropout), (0.5,), VECTOR),
    ((layers.GaussianNoise,), (0.5,), VECTOR),
    ((layers.SpatialDropout1D,), (0.5,), SEQUENCE),
    ((layers.SpatialDropout2D,), (0.5,), IMAGE),
    ((layers.SpatialDropout3D,), (0.5,), VOLUME),
    ((layers.AveragePooling1D, layers.MaxPooling1D), (2,), SEQUENCE),
    ((layers.AveragePooling2D,), (2,), IMAGE),
    ((layers.AveragePooling3D, layers.MaxPooling3D), (2,), VOLUME),
    ((layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D), (), SEQUENCE),
    ((layers.GlobalMaxPooling2D,), (), IMAGE),
    ((layers.GlobalAveragePooling3D, layers.GlobalMaxPooling3D), (), VOLUME),
    ((layers.UpSampling1D, layers.ZeroPadding1D), (2,), SEQUENCE),
    ((layers.Cropping2D,), (1,), IMAGE),
    ((layers.UpSampling2D,), (2,), IMAGE),
    ((layers.Cropping3D, layers.UpSampling3D), (1,), VOLUME),
    ((layers.ZeroPadding3D,), (1,), VOLUME),
]
"""Further classes of the rows above, their arguments, and an input's shape."""

LAYERS |= {
    cls.__name__: Instance(partial(cls, *arguments), shape)
    for classes, arguments, shape in OTHERS
    for cls in classes
}
