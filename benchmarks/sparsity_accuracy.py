"""What exact zeros cost in accuracy: kreg against magnitude pruning.

LeNet-300-100 on MNIST, 50,000 images to train on and 10,000 held out, 12
epochs of Adam. kreg trains two epochs without a penalty, seven in which the
strength of an MCP rises as a cubic, and three with the zeros frozen. The peer
is the magnitude pruning of tensorflow-model-optimization, on the same split
with the same seeds; its sparsity rises on the same schedule. It needs Keras 2
and so an environment of its own (see `magnitude_pruning.py`).

Run with:
    python benchmarks/sparsity_accuracy.py MNIST_TRAIN.npz [--peer PYTHON]

where the file holds `x_train` (60000, 28, 28) and `y_train`, as
`keras.datasets.mnist.load_data` downloads it, and PYTHON is the interpreter of
the peer's environment.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import kreg

BATCH_SIZE, RATE = 128, 1e-3
EPOCHS, WARM, RAMP = 12, 2, 7
# For each target, the strength of the MCP and the size beyond which it does not
# shrink a weight (gamma times the strength). Chosen on other splits and seeds.
PENALTIES = {0.90: (3e-3, 0.118), 0.95: (1e-2, 0.157), 0.98: (1e-2, 0.231)}
TARGETS = (0.0, *PENALTIES)


def split(path):
    """The images scaled to [0, 1], and 10,000 of them held out."""
    with np.load(path) as data:
        x = data["x_train"].reshape(-1, 784).astype("float32") / 255
        y = data["y_train"].astype("int64")
    order = np.random.default_rng(2026).permutation(len(x))
    train, test = order[10_000:], order[:10_000]
    return {
        "x_train": x[train],
        "y_train": y[train],
        "x_test": x[test],
        "y_test": y[test],
    }


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def penalty(target, steps):
    """An MCP whose strength is 0 at first and then rises as a cubic."""
    strength, free = PENALTIES[target]
    rise = keras.optimizers.schedules.PolynomialDecay(
        0.0, RAMP * steps, strength, power=3
    )
    return kreg.MCP(
        kreg.schedules.Delay(rise, steps=WARM * steps), gamma=free / strength
    )


def train(data, seed, target):
    """Accuracy, sparsity of the kernels and median seconds of an epoch."""
    keras.utils.set_random_seed(seed)
    steps = -(-len(data["x_train"]) // BATCH_SIZE)
    model = keras.Sequential([keras.Input((784,))])
    for units, activation in ((300, "relu"), (100, "relu"), (10, None)):
        regularizer = penalty(target, steps) if target else None
        model.add(
            keras.layers.Dense(
                units, activation, kernel_regularizer=regularizer
            )
        )
    adam = keras.optimizers.Adam(RATE)
    model.compile(
        kreg.ProximalOptimizer(adam) if target else adam,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    times = EpochTimes()

    def fit(epochs):
        model.fit(
            data["x_train"],
            data["y_train"],
            batch_size=BATCH_SIZE,
            epochs=epochs,
            verbose=0,
            callbacks=[times],
        )

    if target:
        kreg.bind(model)
        fit(WARM + RAMP)
        kreg.freeze_support(model)
        fit(EPOCHS - WARM - RAMP)
    else:
        fit(EPOCHS)
    logits = model.predict(data["x_test"], batch_size=1000, verbose=0)
    kernels = [
        w for w in kreg.statistics.read(model).weights if w.inputs is not None
    ]
    return {
        "accuracy": float(np.mean(logits.argmax(1) == data["y_test"])),
        "sparsity": sum(w.zeros for w in kernels)
        / sum(w.size for w in kernels),
        "epoch_seconds": float(np.median(times.seconds)),
    }


def peer_results(python, data, seeds, advance):
    """Yield the results of the peer, from a process in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.npz"
        np.savez(path, **data)
        job = {
            "split": str(path),
            "seeds": seeds,
            "targets": TARGETS,
            "epochs": EPOCHS,
            "warm_epochs": WARM,
            "ramp_epochs": RAMP,
            "batch_size": BATCH_SIZE,
            "learning_rate": RATE,
        }
        script = Path(__file__).parent / "magnitude_pruning.py"
        with subprocess.Popen(
            [python, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            process.stdin.write(json.dumps(job))
            process.stdin.close()
            for line in process.stdout:
                if line.startswith("result: "):
                    result = json.loads(line.removeprefix("result: "))
                    yield result["seed"], result["target"], result
                    advance()
        if process.returncode:
            sys.exit(f"{python} {script} failed; run it by hand to see why")


def spread(values, form):
    """The mean, the smallest and the largest."""
    mean, low, high = np.mean(values), np.min(values), np.max(values)
    return f"{mean:{form}} ({low:{form}} to {high:{form}})"


def table(name, results):
    """A row for each target; times over those of the tool's dense training."""
    rows = Table(title=name)
    for heading in ("target", "zeros", "accuracy", "epoch time / dense"):
        rows.add_column(heading)
    for target in TARGETS:
        runs = [r for (_, t), r in results.items() if t == target]
        ratios = [
            r["epoch_seconds"] / results[seed, 0.0]["epoch_seconds"]
            for (seed, t), r in results.items()
            if t == target
        ]
        rows.add_row(
            f"{target:.0%}" if target else "dense",
            spread([r["sparsity"] for r in runs], ".1%"),
            spread([r["accuracy"] for r in runs], ".2%"),
            spread(ratios, ".2f"),
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if not options.mnist.exists():
        print(f"skipped: there is no file {options.mnist}")
        return
    data = split(options.mnist)
    console = Console(width=100)
    runs = len(options.seeds) * len(TARGETS)
    with Progress(console=console) as progress:
        bar = progress.add_task("kreg", total=runs)
        ours = {}
        for seed in options.seeds:
            for target in TARGETS:
                ours[seed, target] = train(data, seed, target)
                progress.advance(bar)
        theirs = {}
        if options.peer:
            bar = progress.add_task("magnitude pruning", total=runs)
            for seed, target, result in peer_results(
                options.peer,
                data,
                options.seeds,
                lambda: progress.advance(bar),
            ):
                theirs[seed, target] = result
    console.print(table("kreg", ours))
    if theirs:
        console.print(table("magnitude pruning", theirs))


if __name__ == "__main__":
    main()
