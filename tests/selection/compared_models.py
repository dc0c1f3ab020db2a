"""Models and data that comparisons in other processes can import.

`LEFT` names a folder for marks: whoever makes a model leaves one there, and
the first to take a mark named `kill` ends its process without a word.
"""

import os
import signal
import uuid
from pathlib import Path

import keras
import numpy as np

import kreg

STRENGTHS = [1.0, 0.3, 0.1]
OPTIONS = {
    "strengths": STRENGTHS,
    "folds": 3,
    "epochs": 64,
    "batch_size": None,
    "verbose": 0,
}


def data(rows=48, seed=0):
    """Ten inputs of which two matter."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 10)).astype("float32")
    noise = rng.normal(size=(rows, 1))
    y = 2.0 * x[:, :1] - x[:, 1:2] + 0.5 * noise
    return x, y.astype("float32")


def linear_model():
    """A linear model, compiled."""
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def marked_model():
    """The same, with a mark in the folder LEFT."""
    folder = Path(os.environ["LEFT"])
    try:
        (folder / "kill").rename(folder / f"killed-{os.getpid()}")
    except FileNotFoundError:
        (folder / f"made-{uuid.uuid4()}").touch()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    return linear_model()


def always_killed():
    """A model that nobody lives to see, but the caller."""
    if os.environ["CALLER"] != str(os.getpid()):
        os.kill(os.getpid(), signal.SIGKILL)
    return linear_model()


PENALTIES = {"none": None, "L1": kreg.L1}
