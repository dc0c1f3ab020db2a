"""What a penalty adds to a training step: kreg's, Keras's, and none.

Eight Dense layers of 1024 units on batches of 32, TensorFlow backend. All
variants take turns in one process, so that the machine's load affects all
alike. Each figure is the difference from the model without a penalty in the
same round, per megabyte of regularized weights. The limit is one read of the
weights, which a penalty that reports its value cannot avoid.

Run with: python benchmarks/penalties.py [--rounds 40] [--optimizer sgd]
          [--only 'kreg L1 bound' 'kreg L1 scheduled']
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
MEGABYTES = LAYERS * UNITS * UNITS * 4 / 1e6
STEPS = 4  # in a row, for each time
SCHEDULE = kreg.schedules.LinearRamp(0.0, 1e-5, steps=1000)

# name: (penalty, whether the model is bound)
VARIANTS = {
    "none": (lambda: None, False),
    "keras L1": (lambda: keras.regularizers.L1(1e-5), False),
    "kreg L1": (lambda: kreg.L1(1e-5), False),
    "kreg L1 bound": (lambda: kreg.L1(1e-5), True),
    "kreg L1 scheduled": (lambda: kreg.L1(SCHEDULE), True),
    "keras L2": (lambda: keras.regularizers.L2(1e-5), False),
    "kreg L2": (lambda: kreg.L2(1e-5), False),
    "kreg L2 bound": (lambda: kreg.L2(1e-5), True),
    "kreg L2 scheduled": (lambda: kreg.L2(SCHEDULE), True),
}


def train_step(penalty, bound, optimizer, jit_compile):
    """A function that runs some training steps."""
    model = keras.Sequential([keras.Input((UNITS,))])
    for _ in range(LAYERS):
        model.add(
            keras.layers.Dense(
                UNITS, activation="relu", kernel_regularizer=penalty()
            )
        )
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    if bound:
        kreg.bind(model)
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(2, BATCH, UNITS)).astype("float32")
    data = tf.data.Dataset.from_tensors((batch[0], batch[1])).repeat()
    iterator = iter(data)
    model.make_train_function()

    def steps():
        for _ in range(STEPS):
            logs = model.train_function(iterator)
        return float(logs["loss"])

    return steps


def one_read():
    """A function that reads weights of the same size, summing squares."""
    weights = [tf.random.normal((UNITS, UNITS)) for _ in range(LAYERS)]

    @tf.function
    def read():
        return tf.add_n([tf.nn.l2_loss(w) for w in weights])

    return lambda: [float(read()) for _ in range(STEPS)]


def measure(variants, optimizer, jit_compile, rounds):
    functions = {
        name: train_step(*VARIANTS[name], optimizer, jit_compile)
        for name in variants
    }
    functions["one read"] = one_read()
    mode = "XLA" if jit_compile else "graph"
    return in_turn(functions, rounds, STEPS, f"{mode}, {optimizer}")


def show(console, title, times):
    table = Table(title=title)
    for heading in (
        "",
        "step ms",
        "ratio to none",
        "added µs/MB",
        "95 % interval",
        "added, of Keras's",
    ):
        table.add_column(heading, justify="right" if heading else "left")
    none = times["none"]
    for name in [name for name in VARIANTS if name in times]:
        added = (times[name] - none) * 1e6 / MEGABYTES
        middle, low, high = interval(added)
        keras_name = f"keras {name.split()[1][:2]}" if name != "none" else None
        ratio_to_keras = ""
        if keras_name in times and name != keras_name:
            theirs = np.median(times[keras_name] - none) * 1e6 / MEGABYTES
            ratio_to_keras = f"{middle / theirs:.2f}"
        table.add_row(
            name,
            f"{np.median(times[name]) * 1e3:.2f}",
            f"{np.median(times[name] / none):.3f}",
            f"{middle:.0f}",
            f"{low:.0f} to {high:.0f}",
            ratio_to_keras,
        )
    middle, low, high = interval(times["one read"] * 1e6 / MEGABYTES)
    table.add_row(
        "limit: one read", "", "", f"{middle:.0f}", f"{low:.0f} to {high:.0f}"
    )
    console.print(table)
    for penalty in ("L1", "L2"):
        if f"kreg {penalty} scheduled" not in times:
            continue
        bound = times[f"kreg {penalty} bound"]
        scheduled = times[f"kreg {penalty} scheduled"]
        middle, low, high = interval((scheduled / bound - 1) * 100)
        console.print(
            f"A schedule adds {middle:.1f} % of a step to {penalty} "
            f"({low:.1f} to {high:.1f})."
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument(
        "--only",
        nargs="*",
        default=list(VARIANTS),
        choices=list(VARIANTS),
        help="measure only these, beside none",
    )
    options = parser.parse_args()
    console = Console(width=100)
    for jit_compile in (False, True):
        variants = dict.fromkeys(["none", *options.only])
        times = measure(
            variants, options.optimizer, jit_compile, options.rounds
        )
        mode = "XLA" if jit_compile else "graph"
        show(console, f"{mode}, {options.optimizer}", times)


if __name__ == "__main__":
    main()
