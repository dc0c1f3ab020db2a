"""What `kreg.compact` leaves of a transformer and of a residual network.

The transformer classifies scikit-learn's handwritten digits. The eight rows of
a digit are tokens, as in `examples/smaller_transformer.py`; two blocks have
four heads and 128 hidden units each, with penalties on heads and units. The
one for MNIST has 28 tokens, six heads and 192 hidden units. The residual
network classifies MNIST, too: three stages of 16, 32 and 64 channels with
BatchNormalization, and one penalty on all channels.

A network is trained without a penalty, then with a penalty, then with the zeros
frozen while the learning rate falls as a cosine; then comes `kreg.compact`. It
is compared with the same network trained as long, at the same rates, without a
penalty.

The data are split once into rows to train on, rows that choose the strength,
and test rows, for all seeds: 997, 300 and 500 digits of scikit-learn; 12,000,
5,000 and 10,000 of MNIST. The digits to train on are there five times, as they
are and shifted by a pixel. The strength chosen is the one with the fewest FLOPs
of those that lose at most 0.3 points in validation, in the mean over the seeds.
Test accuracy is given for that strength alone.

The models are written for LiteRT, and all files are timed in turn, on one
thread; `predict_on_batch` is timed in turn, too.

Found with seeds 0, 1 and 2, on a busy machine of two cores:

- transformer, strength 6e-3: 97.6, 98.0, 98.2 % in test became 97.4, 96.6, 96.4
  %, with 2.5, 2.7, 2.9 times fewer FLOPs, in 0.55 to 0.56 of the time in
  LiteRT. In validation it had lost nothing; 300 digits are few. With 1e-2 there
  were 3.7, 3.8, 6.1 times fewer, and 0.9 points less in validation.
- transformer-mnist, strength 6e-4: 96.89, 96.91, 96.81 % in test became 96.32,
  96.11, 96.45 %, with 3.4, 2.3, 3.7 times fewer FLOPs, in 0.45, 0.53, 0.51 of
  the time in LiteRT. In validation it had lost 0.44 points, so that no strength
  kept within the limit. With 1e-3 there were 8.6, 3.8, 6.5 times fewer, and
  0.84 points less in validation.
- residual, strength 2e-3: 98.55, 98.37, 98.34 % in test became 98.47, 98.55,
  98.36 %, with 5.7, 4.8, 4.8 times fewer FLOPs, in 0.42, 0.45, 0.45 of the time
  in LiteRT. With 1e-3 there were 3.4, 3.0, 2.9 times fewer, and 0.26 points
  more than the dense network in validation.

Run with:
    python benchmarks/digits.py [--mnist MNIST_TRAIN.npz] [--seeds 0 1 2]
        [--networks transformer transformer-mnist residual]

where the file holds `x_train` (60000, 28, 28) and `y_train`, as
`keras.datasets.mnist.load_data` downloads it. Without it the networks on MNIST
are left out.
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from compaction import files_table, seed_row
from interleaved import in_turn, interval
from keras import layers
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sparsity_accuracy import split

import kreg
from kreg.deployment import DeployReport, deploy_report

LOST = 0.003
ROUNDS, CALLS = 60, 20


def transformer(rows, width=32, heads=4, hidden=128):
    inputs = keras.Input((rows, rows))
    tokens = layers.Dense(width)(inputs)
    for i in range(2):
        h = layers.RMSNormalization()(tokens)
        attention = layers.MultiHeadAttention(
            heads, width // heads, name=f"attention_{i}"
        )
        tokens = tokens + attention(h, h)
        h = layers.RMSNormalization()(tokens)
        h = layers.Dense(hidden, "gelu", name=f"hidden_{i}")(h)
        tokens = tokens + layers.Dense(width)(h)
    outputs = layers.Dense(10)(layers.Flatten()(tokens))
    return keras.Model(inputs, outputs)


def heads_and_units(units, strength):
    """Penalties on heads, and ones `units` times as strong on hidden units."""
    return {
        "attention_*": kreg.GroupLasso(strength, groups="heads"),
        "hidden_*/kernel": kreg.GroupLasso(units * strength),
    }


def residual():
    def convolved(x, filters, size=3, strides=1):
        x = layers.Conv2D(
            filters, size, strides=strides, padding="same", use_bias=False
        )(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input((28, 28, 1))
    x = layers.ReLU()(convolved(inputs, 16, strides=2))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        shortcut = x if strides == 1 else convolved(x, filters, 1, strides)
        h = layers.ReLU()(convolved(x, filters, strides=strides))
        x = layers.ReLU()(layers.add([shortcut, convolved(h, filters)]))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


def channels(strength):
    return kreg.GroupLasso(strength, groups="channels")


@dataclass(frozen=True)
class Data:
    """Pairs of inputs and labels: to train, to choose a strength, to report."""

    train: tuple
    validation: tuple
    test: tuple


def with_shifted(x, y):
    """Images and copies of them, shifted by a pixel in four directions."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    starts = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    copies = [padded[:, i : i + 8, j : j + 8] for i, j in starts]
    return np.concatenate(copies), np.tile(y, len(copies))


def small_digits(path):
    """997 digits of scikit-learn to train on, 300 and 500; no file is read."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8).astype("float32") / 16
    x, x_test, y, y_test = train_test_split(
        x, y, test_size=500, stratify=y, random_state=2026
    )
    x, x_validation, y, y_validation = train_test_split(
        x, y, test_size=300, stratify=y, random_state=1
    )
    return Data(
        with_shifted(x, y), (x_validation, y_validation), (x_test, y_test)
    )


def mnist_rows(path):
    """12,000 images to train on, 5,000 for validation and 10,000 to test."""
    data = split(path)
    x, y = data["x_train"].reshape(-1, 28, 28), data["y_train"]
    x_test = data["x_test"].reshape(-1, 28, 28)
    return Data(
        (x[5000:17000], y[5000:17000]),
        (x[:5000], y[:5000]),
        (x_test, data["y_test"]),
    )


def mnist_images(path):
    """The same with an axis of one channel."""
    data = mnist_rows(path)
    return Data(
        *(
            (x[..., None], y)
            for x, y in (data.train, data.validation, data.test)
        )
    )


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    Args:
        data: reads the data from the file of MNIST.
        build: makes it.
        rules: the penalties of a strength, as for `kreg.attach`.
        strengths: those that are tried.
        epochs: without a penalty, with it, and with frozen zeros.
        batch_size: rows of a step.
        rate: the learning rate, from which it falls with frozen zeros.
    """

    data: Callable
    build: Callable
    rules: Callable
    strengths: tuple[float, ...]
    epochs: tuple[int, int, int]
    batch_size: int
    rate: float = 2e-3

    def fit(self, model, data, epochs, wrapper=None, falls=False):
        """Train a model; `wrapper` makes an optimizer of Adam."""
        steps = -(-len(data[0]) // self.batch_size) * epochs
        rate = self.rate
        if falls:
            rate = keras.optimizers.schedules.CosineDecay(rate, steps)
        adam = keras.optimizers.Adam(rate)
        model.compile(
            wrapper(adam) if wrapper else adam,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(*data, batch_size=self.batch_size, epochs=epochs, verbose=0)


NETWORKS = {
    "transformer": Network(
        small_digits,
        partial(transformer, 8),
        partial(heads_and_units, 0.6),
        strengths=(6e-3, 1e-2),
        epochs=(12, 16, 16),
        batch_size=64,
    ),
    "transformer-mnist": Network(
        mnist_rows,
        partial(transformer, 28, width=48, heads=6, hidden=192),
        partial(heads_and_units, 2.5),
        strengths=(6e-4, 1e-3),
        epochs=(6, 10, 20),
        batch_size=128,
    ),
    "residual": Network(
        mnist_images,
        residual,
        channels,
        strengths=(1e-3, 2e-3),
        epochs=(6, 10, 10),
        batch_size=128,
    ),
}


@dataclass(frozen=True)
class Run:
    """A trained network, and what is left of it.

    Args:
        model: the network; after `kreg.compact` where there is a penalty.
        report: its costs before and after; None without a penalty.
        validation: its accuracy on the rows that choose the strength.
        test: its accuracy on the test rows.
    """

    model: keras.Model
    report: DeployReport | None
    validation: float
    test: float


def accuracy(model, data):
    return model.evaluate(*data, verbose=0, return_dict=True)["accuracy"]


def runs(network, data, seed):
    """Yield each strength, 0 the first, and the run."""
    first, second, third = network.epochs
    keras.utils.set_random_seed(seed)
    dense = network.build()
    network.fit(dense, data.train, first)
    weights = dense.get_weights()
    network.fit(dense, data.train, second)
    network.fit(dense, data.train, third, falls=True)
    yield (
        0.0,
        Run(
            dense,
            None,
            accuracy(dense, data.validation),
            accuracy(dense, data.test),
        ),
    )
    for strength in network.strengths:
        keras.utils.set_random_seed(seed)
        model = network.build()
        model.set_weights(weights)
        kreg.attach(model, network.rules(strength))
        wrapper = kreg.ProximalOptimizer
        network.fit(model, data.train, second, wrapper)
        kreg.freeze_support(model)
        network.fit(model, data.train, third, wrapper, falls=True)
        validation = accuracy(model, data.validation)
        small = kreg.compact(model)
        report = deploy_report(model, small, data.test)
        test = report.after.metrics["accuracy"]
        yield strength, Run(small, report, validation, test)


def mean_flops(found):
    return np.mean([run.report.after.flops for run in found])


def chosen_strength(found):
    """The strength with the fewest FLOPs that loses little in validation.

    Args:
        found: a dict from a strength to the runs of all seeds.
    """
    means = {
        strength: np.mean([run.validation for run in of_seeds])
        for strength, of_seeds in found.items()
    }
    holds = [s for s in found if s and means[s] >= means[0.0] - LOST]
    if not holds:
        return max((s for s in found if s), key=means.get)
    return min(holds, key=lambda strength: mean_flops(found[strength]))


def validation_table(title, found):
    """A row for each strength that was tried."""
    table = Table(title=f"{title}: what chooses the strength")
    for heading in ("strength", "accuracy in validation", "mean"):
        table.add_column(heading, justify="right")
    table.add_column("times fewer FLOPs", justify="right")
    for strength, of_seeds in found.items():
        values = [run.validation for run in of_seeds]
        ratios = [
            f"{run.report.before.flops / run.report.after.flops:.1f}"
            for run in of_seeds
            if run.report
        ]
        table.add_row(
            f"{strength:g}" if strength else "dense",
            ", ".join(f"{value:.2%}" for value in values),
            f"{np.mean(values):.2%}",
            ", ".join(ratios),
        )
    return table


def result_table(title, found, strength, seeds):
    """A row for each seed at the chosen strength, and their means."""
    table = Table(title=f"{title}: strength {strength:g}, test rows")
    for heading in ("network", "seed", "accuracy", "parameters", "FLOPs"):
        table.add_column(heading)
    table.add_column("difference")
    pairs = list(zip(found[0.0], found[strength], strict=True))
    for seed, (dense, run) in zip(seeds, pairs, strict=True):
        accuracies = [dense.test, run.test]
        table.add_row(*seed_row(title, seed, accuracies, run.report))
    before, after = (
        np.mean([run.test for run in of_seeds])
        for of_seeds in zip(*pairs, strict=True)
    )
    times_fewer = [
        np.mean([get(r.report.before) / get(r.report.after) for _, r in pairs])
        for get in (lambda f: f.parameters, lambda f: f.flops)
    ]
    table.add_row(
        title,
        "mean",
        f"{before:.2%} -> {after:.2%}",
        *(f"{ratio:.1f} times" for ratio in times_fewer),
    )
    return table


def predictions_table(title, models, image):
    """Times of `predict_on_batch` with one image."""

    def predicting(model):
        def run():
            for _ in range(CALLS):
                model.predict_on_batch(image)

        return run

    times = in_turn(
        {name: predicting(model) for name, model in models.items()},
        ROUNDS,
        CALLS,
        title,
    )
    table = Table(title=f"{title}, predict_on_batch, one image")
    for heading in ("model", "latency", "parts of the first"):
        table.add_column(heading, justify="right")
    first = next(iter(models))
    for name in models:
        median, low, high = interval(times[name] * 1e6)
        ratio = interval(times[name] / times[first])
        table.add_row(
            name,
            f"{median:.0f} us ({low:.0f} to {high:.0f})",
            f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})",
        )
    return table


def show_latencies(console, title, models, image):
    """Tables of LiteRT files and of `predict_on_batch`, the first dense."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: Path(folder, f"{name}.tflite".replace(" ", "-"))
            for name in models
        }
        for name, path in files.items():
            kreg.export(models[name], path, "litert")
        console.print(files_table(title, files, image))
    console.print(predictions_table(title, models, image))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, metavar="MNIST_TRAIN.npz")
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS)
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    console = Console(width=130)
    for name in options.networks:
        network = NETWORKS[name]
        if options.mnist is None and network.data is not small_digits:
            print(f"{name}: skipped, as there is no --mnist")
            continue
        data = network.data(options.mnist)
        found = {}
        with Progress(console=console) as progress:
            each = 1 + len(network.strengths)
            bar = progress.add_task(name, total=each * len(options.seeds))
            for seed in options.seeds:
                for strength, run in runs(network, data, seed):
                    found.setdefault(strength, []).append(run)
                    progress.advance(bar)
        console.print(validation_table(name, found))
        strength = chosen_strength(found)
        console.print(result_table(name, found, strength, options.seeds))
        models = {"dense": found[0.0][0].model} | {
            f"compact {seed}": run.model
            for seed, run in zip(options.seeds, found[strength], strict=True)
        }
        show_latencies(console, name, models, data.test[0][:1])


if __name__ == "__main__":
    main()
