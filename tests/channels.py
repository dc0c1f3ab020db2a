"""Models whose channels a penalty can tie, and their weights by channel."""

import keras
import numpy as np
from keras import layers, ops


def normalized(x):
    return layers.BatchNormalization()(x)


def mlp():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(7, activation="relu", name="first"),
            layers.Dense(6, activation="tanh", name="second"),
            layers.Dense(2, name="last"),
        ]
    )


def normalized_mlp():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(7, use_bias=False, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Dense(2, name="last"),
        ]
    )


def cnn():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(6, 3, padding="same", use_bias=False, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(4, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(3, name="last"),
        ]
    )


def resnet():
    """Two residual blocks, the second with a projection as its shortcut."""
    x = keras.Input((8, 8, 2))
    y = layers.ReLU()(normalized(layers.Conv2D(6, 3, name="stem")(x)))
    for block, (filters, stride) in enumerate([(6, 1), (8, 2)]):
        shortcut = y
        if stride > 1:
            shortcut = layers.Conv2D(filters, 1, stride, name="shortcut")(y)
            shortcut = normalized(shortcut)
        y = layers.Conv2D(
            5, 3, stride, padding="same", use_bias=False, name=f"in_{block}"
        )(y)
        y = layers.ReLU()(normalized(y))
        y = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"out_{block}"
        )(y)
        y = layers.ReLU()(layers.Add()([normalized(y), shortcut]))
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(3, name="last")(y))


def mobilenet():
    x = keras.Input((8, 8, 2))
    y = layers.Conv2D(4, 3, use_bias=False, padding="same", name="stem")(x)
    y = layers.ReLU(6.0)(normalized(y))
    shortcut = y
    y = layers.Conv2D(8, 1, use_bias=False, name="expand")(y)
    y = layers.ReLU(6.0)(normalized(y))
    y = layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, name="depthwise"
    )(y)
    y = layers.ReLU(6.0)(normalized(y))
    y = normalized(layers.Conv2D(4, 1, use_bias=False, name="project")(y))
    y = layers.Add()([y, shortcut])
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(3, name="last")(y))


def transformer(norm=layers.LayerNormalization):
    """One block, with its feed-forward part in `Dense` layers."""
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(11, 6, name="words")(x)
    z = layers.MultiHeadAttention(2, 3, name="attention")(y, y)
    y = norm(name="norm_1")(layers.Add()([y, z]))
    z = layers.Dense(9, activation="gelu", name="wide")(y)
    z = layers.Dense(6, name="narrow")(z)
    y = norm(name="norm_2")(layers.Add()([y, z]))
    y = layers.GlobalAveragePooling1D()(y)
    return keras.Model(x, layers.Dense(3, name="last")(y))


def rms_transformer():
    return transformer(layers.RMSNormalization)


def einsum():
    x = keras.Input((5, 4))
    y = layers.EinsumDense(
        "abc,cd->abd", (None, 7), bias_axes="d", activation="relu", name="wide"
    )(x)
    y = layers.EinsumDense("abd,de->abe", (None, 3), name="last")(y)
    return keras.Model(x, y)


def branches():
    """Branches of different inputs, joined before the last layer."""
    x = keras.Input((4,))
    one = layers.Dense(5, activation="relu", name="one")(x)
    two = layers.Dense(3, activation="relu", name="two")(x)
    two = layers.Dense(6, activation="relu", name="three")(two)
    y = layers.Concatenate()([two, one])
    return keras.Model(x, layers.Dense(2, name="last")(y))


def padded():
    """A shortcut that fills the channels that it lacks with zeros."""
    x = keras.Input((6, 2))
    y = layers.Conv1D(3, 3, padding="same", activation="relu", name="few")(x)
    z = layers.Conv1D(5, 3, padding="same", name="many")(y)
    y = layers.Concatenate()([y, layers.Conv1D(2, 1, name="more")(x)])
    y = layers.ReLU()(layers.Add()([y, z]))
    y = layers.Flatten()(y)
    return keras.Model(x, layers.Dense(2, name="last")(y))


def partly_fixed():
    """A layer to some of whose units the inputs of the model are added."""
    x = keras.Input((2,))
    y = layers.Dense(4, activation="relu", name="before")(x)
    both = layers.Dense(5, name="both")(y)
    y = layers.Concatenate()([x, layers.Dense(3, name="beside")(x)])
    y = layers.ReLU()(layers.Add()([both, y]))
    return keras.Model(x, layers.Dense(3, name="last")(y))


def separable():
    x = keras.Input((8, 8, 2))
    y = layers.Conv2D(4, 3, activation="relu", name="first")(x)
    y = layers.SeparableConv2D(
        6, 3, depth_multiplier=2, activation="relu", name="second"
    )(y)
    y = layers.Conv2DTranspose(5, 3, activation="relu", name="third")(y)
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(2, name="last")(y))


def gated():
    """A gate that multiplies what is as wide, as in squeeze and excitation."""
    x = keras.Input((8, 8, 2))
    y = layers.Conv2D(6, 3, activation="relu", name="first")(x)
    z = layers.GlobalAveragePooling2D(keepdims=True)(y)
    z = layers.Dense(3, activation="relu", name="squeeze")(z)
    z = layers.Dense(6, activation="sigmoid", name="excite")(z)
    y = layers.Conv2D(4, 3, activation="relu", name="second")(
        layers.Multiply()([y, z])
    )
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(2, name="last")(y))


def recurrent():
    x = keras.Input((5, 3))
    y = layers.LSTM(6, return_sequences=True, name="first")(x)
    y = layers.GRU(4, name="second")(y)
    return keras.Model(x, layers.Dense(2, name="last")(y))


def in_each_step():
    x = keras.Input((5, 3))
    y = layers.TimeDistributed(
        layers.Dense(6, activation="relu", name="inner"), name="outer"
    )(x)
    return keras.Model(x, layers.Dense(2, name="last")(y))


def shared():
    """One layer called on two inputs, and a model in a model."""
    one, two = keras.Input((4,)), keras.Input((4,))
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, activation="relu", name="first"),
            layers.Dense(5, activation="relu", name="second"),
        ]
    )
    y = layers.Subtract()([inner(one), inner(two)])
    return keras.Model([one, two], layers.Dense(2, name="last")(y))


@keras.saving.register_keras_serializable(package="tests")
class Own(keras.Model):
    """A model of one's own, with a matrix that it multiplies by itself."""

    def __init__(self, width=7, inner=8, **kwargs):
        super().__init__(**kwargs)
        self.width, self.inner = width, inner
        self.wide = layers.Dense(width, activation="relu", name="wide")
        self.norm = layers.BatchNormalization(name="norm")
        self.last = layers.Dense(3, name="last")

    def build(self, shape):
        self.wide.build(shape)
        self.matrix = self.add_weight(
            shape=(self.width, self.inner), name="matrix"
        )
        self.shift = self.add_weight(shape=(self.inner,), name="shift")
        self.norm.build((*shape[:-1], self.width))
        self.last.build((*shape[:-1], self.inner))

    def call(self, x, training=False):
        y = self.norm(self.wide(x), training=training)
        return self.last(ops.relu(ops.matmul(y, self.matrix) + self.shift))

    def get_config(self):
        sizes = {"width": self.width, "inner": self.inner}
        return {**super().get_config(), **sizes}


def own():
    model = Own()
    model.build((None, 4))
    return model


SAMPLE = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
"""Inputs of `own`, which does not tell what they are."""

MODELS = {
    "mlp": (mlp, {"first": (7, 6), "second": (6, 10)}),
    "normalized mlp": (normalized_mlp, {"first": (7, 9)}),
    "cnn": (cnn, {"first": (6, 20), "second": (4, 54 + 1 + 12)}),
    "resnet": (
        resnet,
        {
            "stem": (6, 18 + 1 + 2 + 45 + 2),
            "in_0": (5, 54 + 2),
            "in_1": (5, 54 + 2),
            "out_1": (8, 45 + 2 + 6 + 1 + 2 + 3),
        },
    ),
    "mobilenet": (
        mobilenet,
        {"stem": (4, 18 + 2 + 8 + 2 + 3), "expand": (8, 4 + 2 + 9 + 2)},
    ),
    "transformer": (transformer, {"wide": (9, 6 + 1 + 6)}),
    "rms transformer": (
        rms_transformer,
        {"words": (6, 11 + 18 + 6 + 1 + 1 + 9 + 1 + 1 + 3), "wide": (9, 7)},
    ),
    "einsum": (einsum, {"wide": (7, 4 + 1 + 3)}),
    "branches": (branches, {"two": (3, 5), "three": (11, (6, 7))}),
    "padded": (padded, {"few": (5, (1 * 2 + 1 + 10 + 12, 6 + 1 + 10 + 12))}),
    "partly fixed": (
        partly_fixed,
        {"before": (4 + 3, (2 + 1 + 2, 4 + 1 + 2 + 1 + 3))},
    ),
    "separable": (
        separable,
        {"first": (4, 19 + 18), "second": (6, 9), "third": (5, 55 + 2)},
    ),
    "gated": (
        gated,
        {"first": (6, 19 + 4), "squeeze": (3, 7), "second": (4, 55 + 2)},
    ),
    "recurrent": (
        recurrent,
        {
            "first/lstm_cell": (6, 4 * (3 + 6 + 1)),
            "second/gru_cell": (4, 3 * (6 + 4 + 2) + 2),
        },
    ),
    "in each step": (in_each_step, {"inner": (6, 4 + 2)}),
    "shared": (shared, {"first": (6, 5), "second": (5, 7 + 2)}),
    "own": (own, {"own": (8, 7 + 1 + 3), "wide": (7, 4 + 1 + 2)}),
}
"""Functions that make models; for each tie, by the layer that its path names,
the number of its groups and the sizes that they have."""


def with_random_weights(model, seed=1):
    """The model, without zeros in its weights or symmetries among units."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype.startswith("float"):
            value = 0.5 * rng.normal(size=variable.shape)
            is_variance = variable.name.endswith("variance")
            variable.assign(1.0 + value**2 if is_variance else value)
    return model


def made(name):
    """A model of the table with random weights, and its sample or None."""
    keras.utils.set_random_seed(0)
    model = with_random_weights(MODELS[name][0]())
    return model, SAMPLE if name == "own" else None


def ties(model):
    """The parts of each tie on a model, by the path of the tie."""
    found = {}
    for variable in model.weights:
        part = getattr(variable.regularizer, "part", None)
        if part is not None:
            found.setdefault(part.tie.path, []).append(part)
    return found


def numbers(part):
    """The number of the group of each entry of a weight; -1 for none."""
    view = part.slices.view
    shape = [1] * len(view)
    shape[part.slices.axis] = -1
    found = np.broadcast_to(part.slices.numbers.reshape(shape), view)
    return found.reshape(part.variable.shape)


def value(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def entries(parts, arrays=None):
    """The entries of each group of a tie, in the order of its weights.

    Args:
        parts: the parts of the tie.
        arrays: an array for each of its weights. Defaults to `None`: their
            values.
    """
    arrays = [value(p.variable) for p in parts] if arrays is None else arrays
    count = 1 + max(numbers(part).max() for part in parts)
    return [
        np.concatenate(
            [
                np.asarray(array, "float64")[numbers(part) == group]
                for part, array in zip(parts, arrays, strict=True)
            ]
        )
        for group in range(count)
    ]


def let_die(parts, group):
    """Set a group to zero."""
    for part in parts:
        part.variable.assign(
            np.where(numbers(part) == group, 0.0, value(part.variable))
        )
