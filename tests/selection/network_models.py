"""Networks of several kinds, with data for them."""

import keras
import numpy as np

RNG = np.random.default_rng(0)
ROWS = 60
X = RNG.normal(size=(ROWS, 8)).astype("float32")
LABELS = (X[:, 0] + X[:, 1] > 0.0).astype("int64")
TARGET = (X[:, :1] - X[:, 1:2]).astype("float32")


def compiled(model, loss, optimizer=None, **arguments):
    model.compile(
        optimizer or keras.optimizers.Adam(0.02),
        loss,
        jit_compile=keras.backend.backend() == "jax",
        **arguments,
    )
    return model


def normalized():
    """Batch normalization and dropout, with classes."""
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(8, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    return compiled(
        model, "sparse_categorical_crossentropy", metrics=["accuracy"]
    )


def two_inputs():
    """A functional model of a dict of two inputs."""
    left = keras.Input((4,), name="left")
    right = keras.Input((4,), name="right")
    joined = keras.layers.Concatenate()(
        [keras.layers.Dense(4, "relu")(left), right]
    )
    model = keras.Model(
        {"left": left, "right": right}, keras.layers.Dense(1)(joined)
    )
    return compiled(model, "mse")


def two_outputs():
    """A functional model of two losses, with weights."""
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(6, "relu")(inputs)
    number = keras.layers.Dense(1, name="number")(hidden)
    label = keras.layers.Dense(1, "sigmoid", name="label")(hidden)
    model = keras.Model(inputs, {"number": number, "label": label})
    return compiled(
        model,
        {"number": "mse", "label": "binary_crossentropy"},
        loss_weights={"number": 1.0, "label": 0.5},
        metrics={"label": "accuracy"},
    )


def convolutional():
    """A small model of images."""
    model = keras.Sequential(
        [
            keras.Input((4, 2, 1)),
            keras.layers.Conv2D(4, 2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    return compiled(model, "binary_crossentropy")


KINDS = {
    "normalized": (normalized, (X, LABELS)),
    "two inputs": (two_inputs, ({"left": X[:, :4], "right": X[:, 4:]}, TARGET)),
    "two outputs": (
        two_outputs,
        (X, {"number": TARGET, "label": LABELS.astype("float32")}),
    ),
    "convolutional": (
        convolutional,
        (X.reshape(-1, 4, 2, 1), LABELS.astype("float32")),
    ),
}
