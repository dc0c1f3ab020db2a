"""A table of models to compact, each with what must go.

Every builder takes a width, and the width of each hidden layer is a multiple of
it. Built at `WIDTH` and randomized (`random_weights`), half of the units are
dead and a quarter is not read. `becomes` says what a compact model may at most
have: as many parameters as the same architecture built at that width, so 2
where all that is dead or unread can go, `WIDTH` where all may have to stay.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers
from surgery import compaction_graphs as graphs
from surgery.compaction_graphs import IMAGE

WIDTH = 8


@dataclass(frozen=True)
class Case:
    """A builder and its promise.

    Args:
        build: from a width to a model.
        becomes: the width that bounds the parameters of the compact model.
        gained: parameters that the outputs need beside those of that width:
            biases of layers without one, constant units before padding.
        keeps: whether every parameter must stay.
        share: where the width does not scale the model, the share of the
            parameters that must go.
        tolerance: of max |difference| / max |output|.
        slow: whether it takes more than a few seconds.
    """

    build: Callable[[int], keras.Model]
    becomes: int = 2
    gained: int = 0
    keeps: bool = False
    share: float | None = None
    tolerance: float = 1e-5
    slow: bool = False

    def bound(self, before: int) -> int:
        """The number of parameters that a compact model may have."""
        if self.keeps:
            return before
        if self.share is not None:
            return int((1.0 - self.share) * before)
        return self.build(self.becomes).count_params() + self.gained


def two(layer, *arguments, between=None, **settings):
    """Two layers of a kind, one of its own kind of layer between them."""

    def make(width):
        middle = [between()] if between else []
        first = layer(width, *arguments, **settings)
        return [first, *middle, layer(width, *arguments, **settings)]

    return make


def dense(between=None, activation="relu", **settings):
    pair = two(layers.Dense, activation=activation, between=between, **settings)
    dtype = {"dtype": settings["dtype"]} if "dtype" in settings else {}
    return lambda width: graphs.stack((6,), *pair(width), **dtype)


def convolutions(kind, head, size=3, activation="relu", **settings):
    pair = two(kind, size, activation=activation, **settings)
    return lambda width: head(*pair(width))


def each_channel(kind, head, mixer, **settings):
    """A depthwise layer between two that mix channels."""
    return lambda width: head(
        mixer(width, 1, activation="tanh"),
        kind(kernel_size=3, activation="elu", **settings),
        mixer(width, 1, activation="tanh"),
    )


def separated(kind, head, mixer, **settings):
    return lambda width: head(
        mixer(width, 1, activation="relu"),
        kind(width, 3, activation="relu", **settings),
    )


def between_images(*makers):
    """A convolution, layers that keep its channels, another convolution."""
    return lambda width: graphs.images(
        layers.Conv2D(width, 3, activation="sigmoid"),
        *(make() for make in makers),
        layers.Conv2D(width, 2, activation="relu"),
    )


def between_steps(*makers):
    return lambda width: graphs.series(
        layers.Conv1D(width, 3, activation="sigmoid"),
        *(make() for make in makers),
        layers.Conv1D(width, 2, activation="relu"),
    )


def between_features(*makers):
    return lambda width: graphs.stack(
        (6,), layers.Dense(width), *(make() for make in makers)
    )


def kept(*makers):
    return Case(between_features(*makers), WIDTH, keeps=True)


TABLE = {
    # Stacks of Dense
    "dense": Case(dense()),
    "dense_float64": Case(dense(dtype="float64"), tolerance=1e-10),
    "dense_mixed_float16": Case(dense(dtype="mixed_float16"), tolerance=5e-3),
    "dense_without_bias": Case(
        dense(activation="sigmoid", use_bias=False), gained=2
    ),
    "dense_frozen": Case(dense(trainable=False)),
    "dense_on_steps": Case(
        lambda w: graphs.series(*two(layers.Dense, "relu")(w))
    ),
    "dense_across_steps": Case(
        lambda w: graphs.series(
            layers.Permute((2, 1)), *two(layers.Dense, activation="relu")(w)
        )
    ),
    # Activations
    "leaky_relu": Case(dense(layers.LeakyReLU, activation=None)),
    "elu": Case(dense(layers.ELU, activation=None)),
    "prelu": Case(dense(layers.PReLU, activation=None)),
    "prelu_of_images": Case(
        between_images(lambda: layers.PReLU(shared_axes=[1, 2]))
    ),
    "prelu_of_pixels": Case(between_images(layers.PReLU)),
    "swish": Case(dense(lambda: layers.Activation("swish"), activation=None)),
    "swish_and_gelu": Case(dense(layers.ReLU, activation="gelu")),
    "softmax": kept(layers.Softmax),
    "softmax_argument": Case(
        lambda w: graphs.stack((6,), layers.Dense(w, "softmax")),
        WIDTH,
        keeps=True,
    ),
    # Convolutions
    "conv1d": Case(convolutions(layers.Conv1D, graphs.series)),
    "conv1d_same": Case(
        convolutions(layers.Conv1D, graphs.series, padding="same"), gained=16
    ),
    "conv1d_causal": Case(
        convolutions(layers.Conv1D, graphs.series, padding="causal"), gained=16
    ),
    "conv2d": Case(convolutions(layers.Conv2D, graphs.images)),
    "conv2d_same": Case(
        convolutions(layers.Conv2D, graphs.images, padding="same"), gained=46
    ),
    "conv2d_same_pointwise": Case(
        convolutions(layers.Conv2D, graphs.images, 1, padding="same")
    ),
    "conv2d_strides": Case(
        convolutions(layers.Conv2D, graphs.images, 2, strides=2)
    ),
    "conv2d_same_strides": Case(
        convolutions(
            layers.Conv2D, graphs.images, 2, strides=2, padding="same"
        ),
        gained=21,
    ),
    "conv2d_dilation": Case(
        convolutions(layers.Conv2D, graphs.images, 2, dilation_rate=2)
    ),
    "conv2d_groups": Case(
        lambda w: graphs.images(
            layers.Conv2D(w, 3, activation="relu"),
            layers.Conv2D(w, 3, groups=2, activation="relu"),
        ),
    ),
    "conv3d": Case(convolutions(layers.Conv3D, graphs.volumes, 2)),
    "conv3d_same": Case(
        convolutions(layers.Conv3D, graphs.volumes, 2, padding="same"),
        gained=33,
    ),
    "conv1d_transpose": Case(
        convolutions(layers.Conv1DTranspose, graphs.series), gained=16
    ),
    "conv2d_transpose": Case(
        convolutions(layers.Conv2DTranspose, graphs.images, strides=2),
        gained=46,
    ),
    "depthwise1d": Case(
        each_channel(layers.DepthwiseConv1D, graphs.series, layers.Conv1D)
    ),
    "depthwise2d": Case(
        each_channel(layers.DepthwiseConv2D, graphs.images, layers.Conv2D)
    ),
    "depthwise2d_same": Case(
        each_channel(
            layers.DepthwiseConv2D,
            graphs.images,
            layers.Conv2D,
            padding="same",
        )
    ),
    "depthwise2d_multiplier": Case(
        each_channel(
            layers.DepthwiseConv2D,
            graphs.images,
            layers.Conv2D,
            depth_multiplier=2,
        ),
        4,
    ),
    "separable1d": Case(
        separated(layers.SeparableConv1D, graphs.series, layers.Conv1D)
    ),
    "separable2d": Case(
        separated(layers.SeparableConv2D, graphs.images, layers.Conv2D)
    ),
    "separable2d_same": Case(
        separated(
            layers.SeparableConv2D,
            graphs.images,
            layers.Conv2D,
            padding="same",
        )
    ),
    # Normalizations
    "conv_bn_pool_dense": Case(graphs.convolution_and_normalization),
    "bn": Case(between_images(layers.BatchNormalization)),
    "bn_without_scale": Case(
        between_images(lambda: layers.BatchNormalization(scale=False))
    ),
    "bn_without_center": Case(
        between_images(lambda: layers.BatchNormalization(center=False))
    ),
    "bn_of_features": Case(between_features(layers.BatchNormalization)),
    "layer_normalization": kept(layers.LayerNormalization),
    "rms_normalization": kept(layers.RMSNormalization),
    "unit_normalization": kept(layers.UnitNormalization),
    "group_normalization": kept(lambda: layers.GroupNormalization(2)),
    # Layers that keep channels
    "dropout": Case(
        between_features(
            lambda: layers.Dropout(0.5),
            lambda: layers.GaussianNoise(0.1),
            lambda: layers.GaussianDropout(0.1),
            lambda: layers.AlphaDropout(0.1),
            layers.Identity,
            lambda: layers.ActivityRegularization(l2=0.1),
        )
    ),
    "spatial_dropout": Case(
        between_steps(lambda: layers.SpatialDropout1D(0.5))
    ),
    "pooling": Case(
        between_images(
            lambda: layers.MaxPooling2D(2, strides=1),
            lambda: layers.AveragePooling2D(2, padding="same", strides=1),
        )
    ),
    "upsampling_and_cropping": Case(
        between_images(
            layers.UpSampling2D,
            lambda: layers.Cropping2D(1),
            lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        )
    ),
    "steps_up_and_cropped": Case(
        between_steps(layers.UpSampling1D, layers.Cropping1D)
    ),
    "zero_padding": Case(between_images(layers.ZeroPadding2D), gained=144),
    "repeat_vector": Case(
        lambda w: graphs.stack(
            (6,),
            layers.Dense(w, "sigmoid"),
            layers.RepeatVector(4),
            layers.Conv1D(w, 2, activation="relu"),
            layers.GlobalMaxPooling1D(),
        )
    ),
    "flatten": Case(
        lambda w: graphs.stack(
            IMAGE,
            *two(layers.Conv2D, 3, activation="relu")(w),
            layers.Flatten(),
            layers.Dense(w, "relu"),
        )
    ),
    "permute": Case(between_images(lambda: layers.Permute((2, 1, 3)))),
    "reshape": Case(graphs.reshaped),
    "unflattened": Case(graphs.unflattened, 6),
    # Embeddings and recurrent layers
    "embedding": Case(
        lambda w: graphs.tokens(
            layers.Embedding(20, w),
            layers.GlobalAveragePooling1D(),
            layers.Dense(w, "relu"),
        )
    ),
    "masked_lstm": Case(
        lambda w: graphs.tokens(
            layers.Embedding(20, w, mask_zero=True), layers.LSTM(w)
        )
    ),
    "lstm": Case(graphs.recurrent(layers.LSTM)),
    "gru": Case(graphs.recurrent(layers.GRU)),
    "simple_rnn": Case(graphs.recurrent(layers.SimpleRNN)),
    "both_ways": Case(graphs.both_ways),
    # Joins
    "residual": Case(graphs.vectors(lambda a, b: layers.Add()([a, b]))),
    "average": Case(graphs.vectors(lambda a, b: layers.Average()([a, b]))),
    "subtract": Case(graphs.vectors(lambda a, b: layers.Subtract()([a, b]))),
    "multiply": Case(graphs.vectors(lambda a, b: layers.Multiply()([a, b]))),
    "maximum": Case(graphs.vectors(lambda a, b: layers.Maximum()([a, b]))),
    "minimum": Case(graphs.vectors(lambda a, b: layers.Minimum()([a, b]))),
    "concatenate": Case(
        graphs.vectors(lambda a, b: layers.Concatenate()([a, b, a]))
    ),
    "concatenate_images": Case(graphs.concatenated_images),
    "concatenate_steps": Case(graphs.concatenated_steps, 6),
    "residual_convolutions": Case(graphs.residual_convolutions, 6),
    "residual_pointwise": Case(
        lambda w: graphs.residual_convolutions(w, "valid", 1)
    ),
    "squeeze_and_excite": Case(graphs.squeeze_and_excite),
    # Inputs, outputs, sharing, nesting
    "several_inputs": Case(graphs.several_inputs),
    "named_inputs": Case(graphs.named_inputs),
    "several_outputs": Case(graphs.several_outputs),
    "features_as_output": Case(graphs.features_as_output, WIDTH, keeps=True),
    "shared_dense": Case(graphs.shared_dense),
    "siamese": Case(graphs.siamese),
    "siamese_functional": Case(
        lambda w: graphs.siamese(w, graphs.inner_functional(w, w))
    ),
    "called_twice": Case(graphs.called_twice, 6),
    "nested_functional": Case(graphs.nested_functional),
    "nested_twice": Case(graphs.nested_twice),
    # Operations, and what no tool can know
    "operations": Case(graphs.with_operations),
    "sorted_channels": Case(graphs.sorted_channels, WIDTH, keeps=True),
    "einsum_dense": Case(
        between_features(
            lambda: layers.EinsumDense(
                "bi,ij->bj", 5, bias_axes="j", activation="relu"
            )
        ),
        WIDTH,
    ),
    "attention": Case(graphs.attention),
    "custom_layer": kept(graphs.Mixing),
    "dense_of_another_mind": Case(
        lambda w: graphs.stack(
            (6,), layers.Dense(w), graphs.Doubled(w, "relu")
        ),
        WIDTH,
        gained=-1,  # something of it must go
    ),
    "nested_subclass": Case(
        lambda w: graphs.stack((6,), layers.Dense(w), graphs.Subclassed(w)),
    ),
    # Architectures of the trade
    "mobile_net_v2": Case(
        graphs.application("MobileNetV2"), share=0.9, slow=True
    ),
    "res_net_50": Case(graphs.application("ResNet50"), share=0.9, slow=True),
    # Its 237 layers round: the same model in double precision is exact.
    "efficient_net_b0": Case(
        graphs.application("EfficientNetB0"),
        share=0.9,
        tolerance=2e-5,
        slow=True,
    ),
    "efficient_net_b0_float64": Case(
        graphs.application("EfficientNetB0", "float64"),
        share=0.9,
        tolerance=1e-10,
        slow=True,
    ),
}
