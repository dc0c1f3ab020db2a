"""What exact zeros cost: a training step with and without a proximal step.

Eight Dense layers of 1024 units on batches of 32, TensorFlow backend, Adam.
`ProximalOptimizer(Adam)` with `kreg.L1` takes turns with its peer, plain Adam
with `keras.regularizers.L1`, and with plain Adam without a penalty.

Run with: python benchmarks/proximal_step.py [--rounds 40]
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from interleaved import in_turn, interval
from rich.console import Console
from rich.table import Table

import kreg

LAYERS, UNITS, BATCH = 8, 1024, 32
STEPS = 4  # in a row, for each time

# name: (penalty, optimizer)
VARIANTS = {
    "Adam": (lambda: None, lambda: "adam"),
    "Adam, keras L1": (lambda: keras.regularizers.L1(1e-5), lambda: "adam"),
    "Adam, keras L2": (lambda: keras.regularizers.L2(1e-5), lambda: "adam"),
    "proximal, kreg L1": (
        lambda: kreg.L1(1e-5),
        lambda: kreg.ProximalOptimizer("adam"),
    ),
    "proximal, kreg L2": (
        lambda: kreg.L2(1e-5),
        lambda: kreg.ProximalOptimizer("adam"),
    ),
}


def train_steps(penalty, optimizer, jit_compile):
    """A function that runs some training steps."""
    model = keras.Sequential([keras.Input((UNITS,))])
    for _ in range(LAYERS):
        model.add(
            keras.layers.Dense(
                UNITS, activation="relu", kernel_regularizer=penalty()
            )
        )
    model.compile(optimizer(), "mse", jit_compile=jit_compile)
    kreg.bind(model)
    batch = np.random.default_rng(0).normal(size=(2, BATCH, UNITS))
    batch = batch.astype("float32")
    data = iter(tf.data.Dataset.from_tensors((batch[0], batch[1])).repeat())
    model.make_train_function()

    def steps():
        for _ in range(STEPS):
            logs = model.train_function(data)
        return float(logs["loss"])

    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    console = Console(width=100)
    for mode, jit_compile in (("graph", False), ("XLA", True)):
        functions = {
            name: train_steps(*variant, jit_compile)
            for name, variant in VARIANTS.items()
        }
        times = in_turn(functions, rounds, STEPS, mode)
        table = Table(title=mode)
        table.add_column("")
        for heading in ("step ms", "ratio to Adam", "ratio to keras L1"):
            table.add_column(heading, justify="right")
        for name in VARIANTS:
            row = [f"{np.median(times[name]) * 1e3:.2f}"]
            for peer in ("Adam", "Adam, keras L1"):
                middle, low, high = interval(times[name] / times[peer])
                row.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
            table.add_row(name, *row)
        console.print(table)


if __name__ == "__main__":
    main()
