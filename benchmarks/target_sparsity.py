"""How near `TargetSparsity` ends to its target, and what that costs.

LeNet-300-100 and a small convolutional network on MNIST, 54,000 images to train
on and 6,000 held out, an L1 penalty under Adam at a constant learning rate. The
base strength is wrong by a random factor of up to 1000 either way. Each run is
compared with the same network trained with a fixed strength, which is found by
trials to end at about the same sparsity.

Run with:
    python benchmarks/target_sparsity.py --data MNIST_TRAIN.npz
        [--target 0.9] [--epochs 8] [--seeds 0 1 2] [--tries 3]

where the file holds `x_train` (60000, 28, 28) and `y_train`, as
`keras.datasets.mnist.load_data` downloads it. `--tries 0` leaves the fixed
strengths out.
"""

import argparse
import math
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import kreg

BATCH_SIZE, RATE, HELD_OUT = 128, 1e-3, 6000
# A fixed strength is near enough if its sparsity is.
NEAR = 0.005


def split(path):
    """The images scaled to [0, 1], and 6,000 of them held out."""
    with np.load(path) as data:
        x = data["x_train"][..., None].astype("float32") / 255
        y = data["y_train"].astype("int64")
    order = np.random.default_rng(2026).permutation(len(x))
    train, test = order[HELD_OUT:], order[:HELD_OUT]
    return (x[train], y[train]), (x[test], y[test])


def lenet(penalty):
    layers = keras.layers
    return [
        layers.Flatten(),
        layers.Dense(300, "relu", kernel_regularizer=penalty),
        layers.Dense(100, "relu", kernel_regularizer=penalty),
        layers.Dense(10, kernel_regularizer=penalty),
    ]


def convolutional(penalty):
    layers = keras.layers
    return [
        layers.Conv2D(16, 3, activation="relu", kernel_regularizer=penalty),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu", kernel_regularizer=penalty),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(64, "relu", kernel_regularizer=penalty),
        layers.Dense(10, kernel_regularizer=penalty),
    ]


ARCHITECTURES = {"LeNet-300-100": lenet, "convolutional": convolutional}


class Multipliers(keras.callbacks.Callback):
    """Records the multiplier after each batch, and the seconds of training."""

    def __init__(self, penalty):
        super().__init__()
        self.penalty = penalty
        self.values = []

    def on_train_begin(self, logs=None):
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(self.penalty.multiplier)

    def on_train_end(self, logs=None):
        self.seconds = time.perf_counter() - self._start

    @property
    def late_movement(self):
        """Largest over smallest multiplier in the last tenth, minus 1."""
        late = self.values[math.floor(0.9 * len(self.values)) :]
        return max(late) / min(late) - 1.0


def train(architecture, data, seed, epochs, strength, *callbacks):
    """Sparsity, accuracy, and how the multiplier moved."""
    keras.utils.set_random_seed(seed)
    penalty = kreg.L1(strength)
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), *ARCHITECTURES[architecture](penalty)]
    )
    model.compile(
        kreg.ProximalOptimizer(keras.optimizers.Adam(RATE)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    kreg.bind(model)
    multipliers = Multipliers(penalty)
    (x, y), held_out = data
    model.fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
        callbacks=[*callbacks, multipliers],
    )
    result = model.evaluate(
        *held_out, batch_size=1000, verbose=0, return_dict=True
    )
    kernels = [
        w for w in kreg.statistics.read(model).weights if w.inputs is not None
    ]
    return {
        "sparsity": sum(w.zeros for w in kernels)
        / sum(w.size for w in kernels),
        "accuracy": result["accuracy"],
        "strength": strength * penalty.multiplier,
        "late_movement": multipliers.late_movement,
        "seconds": multipliers.seconds,
    }


def fixed(architecture, data, seed, epochs, target, first, tries, advance):
    """The result of the fixed strength that came nearest to the target."""
    best, strength = None, first
    for _ in range(tries):
        result = train(architecture, data, seed, epochs, strength)
        advance()
        missing = log_odds(target) - log_odds(result["sparsity"])
        if best is None or abs(missing) < abs(best[0]):
            best = missing, result
        if abs(result["sparsity"] - target) <= NEAR:
            break
        strength *= math.exp(missing)
    return best[1] if best else None


def log_odds(sparsity):
    bounded = min(max(sparsity, 1e-3), 1.0 - 1e-3)
    return math.log(bounded / (1.0 - bounded))


def row(architecture, seed, base, steered, beside):
    """One row of the table."""
    cells = [
        architecture,
        str(seed),
        f"{base:.1e}",
        f"{steered['strength']:.2e}",
        f"{steered['sparsity']:.2%}",
        f"{steered['late_movement']:.1%}",
        f"{steered['accuracy']:.2%}",
        f"{steered['seconds']:.0f} s",
    ]
    if beside is not None:
        cells += [
            f"{beside['strength']:.2e}",
            f"{beside['sparsity']:.2%}",
            f"{beside['accuracy']:.2%}",
            f"{beside['seconds']:.0f} s",
        ]
    return cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tries", type=int, default=3)
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: there is no file {options.data}")
        return
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    data = split(options.data)
    table = Table(title=f"TargetSparsity({options.target:g})")
    headings = (
        *("network", "seed", "base", "strength", "zeros"),
        *("moved", "accuracy", "time"),
        *("fixed strength", "zeros", "accuracy", "time"),
    )
    for heading in headings if options.tries else headings[:-4]:
        table.add_column(heading, justify="right")
    console = Console(width=120)
    runs = len(ARCHITECTURES) * len(options.seeds) * (1 + options.tries)
    with Progress(console=console) as progress:
        bar = progress.add_task("training", total=runs)

        def advance():
            progress.advance(bar)

        for architecture in ARCHITECTURES:
            for seed in options.seeds:
                off = np.random.default_rng(seed).uniform(-3.0, 3.0)
                base = 3e-4 * 10.0**off
                common = (architecture, data, seed, options.epochs)
                steered = train(
                    *common, base, kreg.TargetSparsity(options.target)
                )
                advance()
                beside = fixed(
                    *common,
                    options.target,
                    steered["strength"],
                    options.tries,
                    advance,
                )
                table.add_row(*row(architecture, seed, base, steered, beside))
    console.print(table)


if __name__ == "__main__":
    main()
