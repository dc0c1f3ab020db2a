"""What a reading of the weights costs, and what the monitor adds to `fit`.

The weights of ResNet50, 25.6 million numbers on the TensorFlow backend, are
read by kreg's compiled pass with and without the training figures, by NumPy
over `get_weights()`, and by Keras's TensorBoard callback with histograms.
The limit is a plain read of the same memory, one sum for each weight in one
graph.

Then eight Dense layers of 1024 units with an L1 penalty are fitted on batches
of 32, with and without the monitor. All variants take turns in one process.

Run with: python benchmarks/statistics_pass.py [--rounds 30] [--fits 5]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from interleaved import in_turn, interval
from rich.console import Console
from rich.progress import track
from rich.table import Table

import kreg
from kreg.statistics.reader import Reader

LAYERS, UNITS, BATCH, STEPS, EPOCHS = 8, 1024, 32, 60, 4


def readings(folder):
    """The variants, each a function without arguments."""
    model = keras.applications.ResNet50(weights=None)
    weights = model.trainable_variables
    trained = keras.applications.ResNet50(weights=None)
    trained.compile("adam", "categorical_crossentropy")
    trained.optimizer.build(trained.trainable_variables)
    trained.optimizer.iterations.assign(1)
    in_training = Reader(1e-3)
    before = in_training.weights_before(trained)

    @tf.function
    def plain():
        return [tf.reduce_sum(tf.convert_to_tensor(w)) for w in weights]

    def numpy():
        for w in model.get_weights():
            size = np.abs(w)
            _ = (
                size.sum(),
                np.sqrt(np.sum(w**2)),
                size.max(),
                np.count_nonzero(w),
            )

    def figures_of_training():
        before.take()
        in_training(trained, compiled=True)

    histograms = keras.callbacks.TensorBoard(
        folder, histogram_freq=1, write_graph=False
    )
    histograms.set_model(model)
    histograms.on_train_begin()
    reader = Reader(1e-3)
    return {
        "plain read": plain,
        "kreg": lambda: reader(model, compiled=True),
        "kreg, with gradients, optimality and updates": figures_of_training,
        "NumPy over get_weights()": numpy,
        "Keras's TensorBoard, histograms": lambda: histograms.on_epoch_end(
            0, {}
        ),
    }


def show_readings(console, times):
    table = Table(title="One reading of ResNet50's weights")
    for heading in ("", "ms", "spread", "of a plain read", "95 % interval"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, values in times.items():
        middle, low, high = interval(values / times["plain read"])
        table.add_row(
            name,
            f"{np.median(values) * 1e3:.1f}",
            f"{values.min() * 1e3:.1f} to {values.max() * 1e3:.1f}",
            f"{middle:.1f}",
            f"{low:.1f} to {high:.1f}",
        )
    console.print(table)
    for name in list(times)[3:]:
        ratio, low, high = interval(times[name] / times["kreg"])
        console.print(
            f"kreg is {ratio:.1f} times ({low:.1f} to {high:.1f}) faster than "
            f"{name}."
        )


class Clock(keras.callbacks.Callback):
    """Records the seconds of each epoch, with the work of other callbacks."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.times.append(time.perf_counter() - self.start)


def fitted(folder, update_freq, proximal):
    """A function that fits and returns the time of a later epoch."""
    model = keras.Sequential([keras.Input((UNITS,))])
    for _ in range(LAYERS):
        model.add(
            keras.layers.Dense(
                UNITS, activation="relu", kernel_regularizer=kreg.L1(1e-6)
            )
        )
    adam = keras.optimizers.Adam(1e-5)
    model.compile(kreg.ProximalOptimizer(adam) if proximal else adam, "mse")
    kreg.bind(model)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, UNITS)).astype("float32")
    clock = Clock()
    callbacks = [clock]
    if update_freq is not None:
        callbacks = [
            kreg.RegularizationMonitor(folder, update_freq, check=False),
            clock,
        ]

    def fit():
        model.fit(
            x,
            x,
            batch_size=BATCH,
            epochs=EPOCHS,
            verbose=0,
            callbacks=callbacks,
        )
        return np.median(clock.times[1:])

    return fit


def monitor_costs(folder, rounds, proximal):
    variants = {"without": None, "per epoch": "epoch", "every 10 steps": 10}
    fits = {
        name: fitted(folder / f"{name}-{proximal}", update_freq, proximal)
        for name, update_freq in variants.items()
    }
    for fit in fits.values():
        fit()
    times = {name: np.empty(rounds) for name in variants}
    for i in track(range(rounds), "fits"):
        for name, fit in fits.items():
            times[name][i] = fit()
    return times


def show_costs(console, title, times):
    table = Table(title=title)
    for heading in ("monitor", "epoch s", "added", "spread"):
        table.add_column(heading, justify="right")
    for name, values in times.items():
        added = (values / times["without"] - 1.0) * 100
        table.add_row(
            name,
            f"{np.median(values):.2f}",
            f"{np.median(added):+.1f} %",
            f"{added.min():+.1f} to {added.max():+.1f} %",
        )
    console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--fits", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        functions = readings(folder / "histograms")
        times = in_turn(functions, options.rounds, 1, "readings")
        show_readings(console, times)
        for proximal in (False, True):
            optimizer = "ProximalOptimizer(Adam)" if proximal else "Adam"
            times = monitor_costs(folder, options.fits, proximal)
            title = f"{STEPS} steps of {LAYERS} Dense layers, {optimizer}"
            show_costs(console, title, times)


if __name__ == "__main__":
    main()
