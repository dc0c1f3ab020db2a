"""Models of every kind that is shipped, with kreg's penalties on them."""

import keras
import numpy as np
from keras import layers

import kreg

RNG = np.random.default_rng(0)


def perceptron():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", kernel_regularizer=kreg.L1()),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )


def two_inputs_two_outputs():
    """Inputs in another order than that of their names."""
    first = keras.Input((3,), name="zebra")
    second = keras.Input((4,), name="ant")
    x = layers.Concatenate()([first, second])
    x = layers.Dense(5, kernel_regularizer=kreg.L2(0.1))(x)
    return keras.Model(
        [first, second], [layers.Dense(2)(x), layers.Dense(3)(x)]
    )


def dictionaries():
    first = keras.Input((3,), name="zebra")
    second = keras.Input((4,), name="ant")
    x = layers.Dense(5)(layers.Concatenate()([first, second]))
    return keras.Model(
        {"zebra": first, "ant": second},
        {
            "large": layers.Dense(3, kernel_regularizer=kreg.L1(0.1))(x),
            "happy": layers.Dense(2)(x),
        },
    )


def images_of_any_size():
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(
                4, 3, strides=2, kernel_regularizer=kreg.GroupLasso()
            ),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def words():
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 4, embeddings_regularizer=kreg.L2(0.1)),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )


def attention():
    x = keras.Input((5, 8))
    y = layers.MultiHeadAttention(2, 4)(x, x)
    return keras.Model(x, layers.LayerNormalization()(y))


def recurrent():
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.LSTM(4, kernel_regularizer=kreg.L1()),
            layers.Dense(2),
        ]
    )


def half_precision():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", dtype="mixed_float16"),
            layers.Dense(3, dtype="mixed_float16"),
        ]
    )


def double_precision():
    return keras.Sequential(
        [
            keras.Input((6,), dtype="float64"),
            layers.Dense(8, activation="relu", dtype="float64"),
            layers.Dense(3, dtype="float64"),
        ]
    )


@keras.saving.register_keras_serializable(package="kreg_tests")
class Subclassed(keras.Model):
    """Two layers, called in Python."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(4, kernel_regularizer=kreg.L1())
        self.last = layers.Dense(2)

    def build(self, shape):
        self.hidden.build(shape)
        self.last.build((None, 4))
        self.built = True

    def call(self, x):
        return self.last(self.hidden(x))


MODELS = {
    make.__name__: make
    for make in (
        perceptron,
        two_inputs_two_outputs,
        dictionaries,
        images_of_any_size,
        words,
        attention,
        recurrent,
        half_precision,
        double_precision,
    )
}


def with_random_weights(model):
    """No zero biases and no moving means of zero, which would hide much."""
    model.set_weights(
        [RNG.uniform(0.1, 1.0, size=w.shape) for w in model.get_weights()]
    )
    return model
