"""The data, the network and the path of `path.py`."""

import time
from collections import Counter

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg

HIDDEN, POINTS = 32, 30
MNIST_ROWS = 10_000
TRACES = Counter()


def split(mnist, seed):
    """Rows to train, to validate and to test on, as one dict."""
    if mnist:
        with np.load(mnist) as data:
            x, y = data["x_train"], data["y_train"]
        rows = np.random.default_rng(seed).permutation(len(x))[:MNIST_ROWS]
        x, y = x[rows].reshape(MNIST_ROWS, -1) / 255.0, y[rows]
    else:
        x, y = load_digits(return_X_y=True)
        x = x / 16.0
    x, y = x.astype("float32"), y.astype("int64")
    x, x_test, y, y_test = train_test_split(
        x, y, test_size=0.3, random_state=seed, stratify=y
    )
    x, x_val, y, y_val = train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=y
    )
    return {
        "x_train": x,
        "y_train": y,
        "x_val": x_val,
        "y_val": y_val,
        "x_test": x_test,
        "y_test": y_test,
    }


def part(data, name):
    return data[f"x_{name}"], data[f"y_{name}"]


class Traced(keras.Sequential):
    """Counts how often Python runs its train step, which traces it.

    Apart from training, `kreg.path` runs the train step for two gradients: one
    for `tolerance`, and one for `strength_max`.
    """

    def train_step(self, *arguments):
        trained = isinstance(self.optimizer, kreg.ProximalOptimizer)
        TRACES["training" if trained else "gradients"] += 1
        return super().train_step(*arguments)


def build_model(inputs, optimizer=lambda inner: inner, **arguments):
    model = Traced(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(HIDDEN, "relu", name="hidden"),
            keras.layers.Dense(
                10,
                "softmax",
                kernel_regularizer=kreg.L2(1e-3),
                name="last",
            ),
        ]
    )
    model.compile(
        optimizer(keras.optimizers.SGD(0.1, momentum=0.9)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **arguments,
    )
    return model


def group_lasso(strength):
    return kreg.GroupLasso(strength, "inputs")


def warm_path(data, seed, epochs, **stopping):
    """A path, its steps, and the seconds it took, compilation included."""
    TRACES.clear()
    start = time.perf_counter()
    result = kreg.path(
        lambda: build_model(data["x_train"].shape[1]),
        part(data, "train"),
        (group_lasso, "hidden"),
        training=kreg.selection.Training(epochs, batch_size=None, **stopping),
        strengths=kreg.selection.StrengthGrid(num=POINTS),
        validation=part(data, "val"),
        seed=seed,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    steps = sum(point.steps for point in (result.start, *result.points))
    return result, steps, seconds
