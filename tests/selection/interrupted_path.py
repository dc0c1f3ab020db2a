"""A path in a process of its own, which a test ends in the middle."""

import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np

import kreg
from kreg.selection import Training, path

STRENGTHS = [1e-3, 2e-3, 5e-3, 1e-2, 2e-2]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype("float32")
Y = (X[:, 0] > X[:, 3]).astype("float32")


def build_model():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, "relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(
        "adam",
        "binary_crossentropy",
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def run(directory, *, epochs=40, refit=False, **arguments):
    arguments = {"penalty": kreg.L1, "data": (X, Y), **arguments}
    return path(
        build_model,
        strengths=STRENGTHS,
        training=Training(epochs, batch_size=16, refit=refit),
        directory=directory,
        verbose=0,
        **arguments,
    )


def slow_down():
    """Give a test time to end the process between two points."""
    fit = keras.Model.fit

    def slow_fit(self, *arguments, **named):
        time.sleep(0.3)
        return fit(self, *arguments, **named)

    keras.Model.fit = slow_fit


def end(process, number):
    """End a process by a signal, and return its status.

    Python loses an interrupt that comes where errors are ignored, such as in a
    finalizer, so it is sent again.
    """
    while True:
        process.send_signal(number)
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    slow_down()
    run(Path(sys.argv[1]))
