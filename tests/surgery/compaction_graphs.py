"""Models to compact that are no plain stack of layers."""

import keras
from keras import layers

IMAGE = (8, 8, 3)
STEPS = (10, 3)


@keras.saving.register_keras_serializable(package="compaction")
class Mixing(keras.Layer):
    """A layer that no tool can know: each channel reads its neighbour."""

    def call(self, x):
        return x + keras.ops.roll(x, 1, axis=-1)


@keras.saving.register_keras_serializable(package="compaction")
class Doubled(layers.Dense):
    """A Dense of another mind: its output is not the parent's."""

    def call(self, x):
        return super().call(x) + keras.ops.mean(x, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="compaction")
class Subclassed(keras.Model):
    """A model whose graph is written in Python."""

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.first = layers.Dense(width, "relu")
        self.second = layers.Dense(width)

    def build(self, shape):
        self.first.build(shape)
        self.second.build((*shape[:-1], self.width))
        self.built = True

    def call(self, x):
        return self.second(self.first(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def stack(shape, *hidden, dtype=None):
    """A Sequential of the layers and three logits."""
    inputs = keras.Input(shape, dtype="float64" if dtype == "float64" else None)
    return keras.Sequential([inputs, *hidden, layers.Dense(3, dtype=dtype)])


def images(*hidden):
    return stack(IMAGE, *hidden, layers.GlobalAveragePooling2D())


def series(*hidden):
    return stack(STEPS, *hidden, layers.GlobalAveragePooling1D())


def volumes(*hidden):
    return stack((6, 6, 6, 2), *hidden, layers.GlobalAveragePooling3D())


def tokens(*hidden):
    ids = keras.Input((7,), dtype="int32")
    return keras.Model(ids, layers.Dense(3)(chain(ids, *hidden)))


def chain(x, *hidden):
    for layer in hidden:
        x = layer(x)
    return x


def vectors(join, *, shape=(6,), between=()):
    """Two branches from one input, joined, then a layer and three logits."""

    def build(width):
        inputs = keras.Input(shape)
        first = layers.Dense(width, "relu")(inputs)
        second = layers.Dense(width, "tanh")(first)
        x = chain(join(first, second), *(make() for make in between))
        return keras.Model(
            inputs, layers.Dense(3)(layers.Dense(width, "elu")(x))
        )

    return build


def convolution_and_normalization(width):
    return stack(
        IMAGE,
        layers.Conv2D(width, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(width, 2),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(width, "relu"),
    )


def reshaped(width):
    return images(
        layers.Conv2D(width, 3, activation="relu"),
        layers.Reshape((36, width)),
        layers.Dense(width, "relu"),
        layers.Reshape((6, 6, width)),
    )


def unflattened(width):
    return stack(
        (6,),
        layers.Dense(2 * width, "relu"),
        layers.Reshape((2, width)),
        layers.Conv1D(width, 2, activation="relu"),
        layers.Flatten(),
    )


def residual_convolutions(width, padding="same", size=3):
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(width, 3, padding="same")(inputs)
    for _ in range(2):
        y = layers.Conv2D(width, size, padding=padding)(x)
        y = layers.BatchNormalization()(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def squeeze_and_excite(width):
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(width, 3, activation="relu")(inputs)
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Dense(width, "relu")(gate)
    gate = layers.Dense(width, "sigmoid")(gate)
    x = layers.Multiply()([x, layers.Reshape((1, 1, width))(gate)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def several_inputs(width):
    inputs = [keras.Input((6,)), keras.Input((5,))]
    a, b = (layers.Dense(width, "relu")(x) for x in inputs)
    x = layers.Dense(width, "relu")(layers.Concatenate()([a, b]))
    return keras.Model(inputs, layers.Dense(3)(x))


def named_inputs(width):
    inputs = {
        "age": keras.Input((6,), name="age"),
        "words": keras.Input((7,), name="words", dtype="int32"),
    }
    a = layers.Dense(width, "sigmoid")(inputs["age"])
    b = layers.Embedding(20, width)(inputs["words"])
    b = layers.GlobalAveragePooling1D()(b)
    x = layers.Dense(width, "tanh")(layers.Concatenate()([a, b]))
    return keras.Model(inputs, layers.Dense(3)(x))


def several_outputs(width):
    inputs = keras.Input((6,))
    x = layers.Dense(width, "relu")(layers.Dense(width, "relu")(inputs))
    heads = {
        "kind": layers.Dense(3, name="kind")(x),
        "size": layers.Dense(1, name="size")(layers.Dense(width, "tanh")(x)),
    }
    return keras.Model(inputs, heads)


def features_as_output(width):
    inputs = keras.Input((6,))
    x = layers.Dense(width, "relu")(inputs)
    return keras.Model(inputs, [x, layers.Dense(3)(x)])


def siamese(width, inner=None):
    inputs = [keras.Input((6,)), keras.Input((6,))]
    shared = inner or keras.Sequential(
        [layers.Dense(width, "relu"), layers.Dense(width, "tanh")]
    )
    x = layers.Subtract()([shared(inputs[0]), shared(inputs[1])])
    return keras.Model(inputs, layers.Dense(3)(x))


def shared_dense(width):
    inputs = [keras.Input((6,)), keras.Input((6,))]
    first, second = layers.Dense(width, "relu"), layers.Dense(width, "relu")
    a, b = (second(first(x)) for x in inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.Maximum()([a, b])))


def called_twice(width):
    inputs = keras.Input((6,))
    shared = layers.Dense(width, "relu")
    x = layers.Dense(width, "relu")(inputs)
    return keras.Model(inputs, layers.Dense(3)(shared(shared(x))))


def inner_functional(width, outputs):
    inputs = keras.Input((6,))
    x = layers.Dense(width, "relu")(inputs)
    x = layers.Add()([x, layers.Dense(width, "tanh")(x)])
    return keras.Model(inputs, layers.Dense(outputs)(x), name="inner")


def nested_functional(width):
    return stack((6,), inner_functional(width, width), layers.Dense(width))


def nested_twice(width):
    inner = keras.Sequential([layers.Dense(width, "relu")], name="deep")
    middle = keras.Sequential([inner, layers.Dense(width, "elu")], name="mid")
    return stack((6,), layers.Dense(width, "relu"), middle)


def with_operations(width):
    inputs = keras.Input((6,))
    x = keras.ops.relu(layers.Dense(width)(inputs))
    y = layers.Dense(width)(x)
    x = keras.ops.tanh(x + y) * 2.0
    x = keras.ops.concatenate([x, y - 1.0], axis=-1)
    x = layers.Dense(width)(x)
    return keras.Model(inputs, layers.Dense(3)(keras.ops.maximum(x, -0.5)))


def sorted_channels(width):
    inputs = keras.Input((6,))
    x = keras.ops.sort(layers.Dense(width)(inputs), axis=-1)
    return keras.Model(inputs, layers.Dense(3)(x))


def attention(width):
    inputs = keras.Input((5, 6))
    x = layers.Dense(width)(inputs)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    return keras.Model(inputs, layers.Dense(3)(x))


def concatenated_images(width):
    inputs = keras.Input(IMAGE)
    a = layers.Conv2D(width, 3, activation="relu")(inputs)
    b = layers.Conv2D(2 * width, 3, activation="elu")(inputs)
    x = layers.Conv2D(width, 2)(layers.Concatenate()([a, b]))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def concatenated_steps(width):
    inputs = keras.Input(STEPS)
    a = layers.Conv1D(width, 3, activation="relu")(inputs)
    b = layers.Conv1D(width, 2, activation="relu")(inputs)
    x = layers.Conv1D(width, 2)(layers.Concatenate(axis=1)([a, b]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def recurrent(kind, **arguments):
    def build(width):
        return stack(
            STEPS,
            layers.Dense(width, "relu"),
            kind(width, return_sequences=True, **arguments),
            kind(width, **arguments),
        )

    return build


def both_ways(width):
    return stack(
        STEPS,
        layers.Bidirectional(layers.LSTM(width, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(width, "relu")),
        layers.GlobalMaxPooling1D(),
    )


def application(name, dtype="float32"):
    def build(width):
        before = keras.config.floatx()
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        model = getattr(keras.applications, name)(
            weights=None,
            input_shape=(64, 64, 3),
            classes=10,
            classifier_activation=None,
        )
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)
        return model

    return build
