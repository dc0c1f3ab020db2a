"""Models and data that comparisons in other processes can import.

`LEFT` names a folder for marks: each training that ends leaves one there. The
first in the middle of a model's second training takes the mark named `kill`,
and ends its process without a word.
"""

import os
import signal
import uuid
from pathlib import Path

import keras
import numpy as np

import kreg
from kreg.selection import Execution, Training

STRENGTHS = [1.0, 0.3, 0.1]
OPTIONS = {
    "strengths": STRENGTHS,
    "folds": 3,
    "training": Training(64, batch_size=None),
    "execution": Execution(verbose=0),
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


class Marks(keras.callbacks.Callback):
    """Leaves files that show how often a model was trained."""

    def __init__(self):
        super().__init__()
        self.folder = Path(os.environ["LEFT"])
        self.number = 0

    def on_train_begin(self, logs=None):
        self.number += 1

    def on_epoch_begin(self, epoch, logs=None):
        if self.number == 2 and epoch == 1:
            try:
                (self.folder / "kill").rename(self.folder / "killed")
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_end(self, logs=None):
        (self.folder / f"trained-{uuid.uuid4()}").touch()


class MortalModel(keras.Sequential):
    """A model whose training may kill its process, once."""

    def fit(self, *arguments, callbacks=(), **named):
        if not hasattr(self, "marks"):
            self.marks = Marks()
        callbacks = [*callbacks, self.marks]
        return super().fit(*arguments, callbacks=callbacks, **named)


def mortal_model():
    """A linear model that leaves files in the folder LEFT."""
    model = MortalModel([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def always_killed():
    """A model whose building kills every process but the caller's."""
    if os.environ["CALLER"] != str(os.getpid()):
        os.kill(os.getpid(), signal.SIGKILL)
    return linear_model()


PENALTIES = {"none": None, "L1": kreg.L1}
