"""What `kreg.compact` leaves of a model: size, accuracy and latency.

LeNet-300-100 and a convolutional network with BatchNormalization on MNIST,
50,000 images to train on and 10,000 held out, 12 epochs of Adam. The learning
rate falls as a cosine in the last five. kreg trains two epochs without a
penalty, five in which the strength of a GroupLasso rises as a cubic, and five
with the zeros frozen; then comes `kreg.compact`. It is compared with the same
network trained without a penalty, and with LeNet-300-100 with 90 % of its
weights pruned by tensorflow-model-optimization over the same epochs. The latter
needs Keras 2 and so an environment of its own (see `magnitude_pruning.py`). All
networks are written for LiteRT; the files are measured in bytes, and timed in
turn.

Run with:
    python benchmarks/compaction.py MNIST_TRAIN.npz [--peer PYTHON]
        [--seeds 0 1 2]

where the file holds `x_train` (60000, 28, 28) and `y_train`, as
`keras.datasets.mnist.load_data` downloads it, and PYTHON is the interpreter of
the peer's environment.
"""

import argparse
import gzip
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from interleaved import in_turn, interval
from peer import results_of
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sparsity_accuracy import BATCH_SIZE, RATE, split

import kreg
from kreg.deployment import deploy_report

WARM, RAMP, REFIT = 2, 5, 5
ROUNDS, CALLS = 60, 20


def lenet(penalty):
    layers = keras.layers
    return [
        keras.Input((784,)),
        layers.Dense(300, "relu", kernel_regularizer=penalty()),
        layers.Dense(100, "relu", kernel_regularizer=penalty()),
        layers.Dense(10),
    ]


def convolutional(penalty):
    layers = keras.layers
    network = [keras.Input((784,)), layers.Reshape((28, 28, 1))]
    for filters, pooled in ((24, True), (48, False), (48, True)):
        network += [
            layers.Conv2D(
                filters,
                3,
                padding="same",
                use_bias=False,
                kernel_regularizer=penalty(),
            ),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
        if pooled:
            network.append(layers.MaxPooling2D())
    return [
        *network,
        layers.Flatten(),
        layers.Dense(96, use_bias=False, kernel_regularizer=penalty()),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dense(10),
    ]


# The strength at the end of the rise. It is larger for the network with
# normalization, which undoes any scale of the kernels before it.
NETWORKS = {
    "LeNet-300-100": (lenet, 1.3e-4),
    "convolutional": (convolutional, 1e-3),
}


def train(data, build, strength, seed):
    """A model of `build`, trained without a penalty or with groups dropped."""
    keras.utils.set_random_seed(seed)
    steps = -(-len(data["x_train"]) // BATCH_SIZE)
    fall = keras.optimizers.schedules.CosineDecay(RATE, REFIT * steps)
    rate = kreg.schedules.Join([RATE, fall], [(WARM + RAMP) * steps])

    def penalty():
        if not strength:
            return None
        rise = keras.optimizers.schedules.PolynomialDecay(
            0.0, RAMP * steps, strength, power=3
        )
        return kreg.GroupLasso(kreg.schedules.Delay(rise, steps=WARM * steps))

    model = keras.Sequential(build(penalty))
    adam = keras.optimizers.Adam(rate)
    model.compile(
        kreg.ProximalOptimizer(adam) if strength else adam,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )

    def fit(epochs):
        model.fit(
            data["x_train"],
            data["y_train"],
            batch_size=BATCH_SIZE,
            epochs=epochs,
            verbose=0,
        )

    if strength:
        kreg.bind(model)
        fit(WARM + RAMP)
        kreg.freeze_support(model)
        fit(REFIT)
    else:
        fit(WARM + RAMP + REFIT)
    return model


def pruned_by_the_peer(python, data, seeds, folder):
    """The accuracy of each seed's pruned network, and its LiteRT file."""
    np.savez(folder / "split.npz", **data)
    job = {
        "split": str(folder / "split.npz"),
        "litert": str(folder / "pruned-{seed}.tflite"),
        "seeds": seeds,
        "targets": [0.9],
        "epochs": WARM + RAMP + REFIT,
        "warm_epochs": WARM,
        "ramp_epochs": RAMP,
        "falling_rate_epochs": REFIT,
        "batch_size": BATCH_SIZE,
        "learning_rate": RATE,
    }
    lines = results_of(python, "magnitude_pruning.py", job)
    return {line["seed"]: line["accuracy"] for line in lines}


def runner(path, image):
    """Runs a LiteRT file on one image, `CALLS` times, on one thread."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]

    def run():
        for _ in range(CALLS):
            interpreter.set_tensor(place, image)
            interpreter.invoke()

    return run


def seed_row(name, seed, accuracies, report):
    """A row: before and after, and how many times smaller."""
    before, after = report.before, report.after
    return [
        name,
        str(seed),
        f"{accuracies[0]:.2%} -> {accuracies[1]:.2%}",
        *(
            f"{a:,} -> {b:,} ({a / b:.1f} times)"
            for a, b in (
                (before.parameters, after.parameters),
                (before.flops, after.flops),
            )
        ),
        f"{report.largest_difference:.0e}",
    ]


def files_table(title, files, image):
    """Bytes and latency of LiteRT files, and their ratio to the first."""
    times = in_turn(
        {name: runner(path, image) for name, path in files.items()},
        ROUNDS,
        CALLS,
        title,
    )
    first = next(iter(files))
    table = Table(title=f"{title}, LiteRT, one image, one thread")
    for heading in ("model", "bytes", "gzip", "latency", "parts of the first"):
        table.add_column(heading, justify="right")
    for name, path in files.items():
        content = path.read_bytes()
        median, low, high = interval(times[name] * 1e6)
        ratio = interval(times[name] / times[first])
        table.add_row(
            name,
            f"{len(content):,}",
            f"{len(gzip.compress(content)):,}",
            f"{median:.1f} us ({low:.1f} to {high:.1f})",
            f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})",
        )
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if not options.mnist.exists():
        print(f"skipped: there is no file {options.mnist}")
        return
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    data = split(options.mnist)
    held_out = data["x_test"], data["y_test"]
    image = data["x_test"][:1]
    console = Console(width=130)
    table = Table(title="kreg.compact")
    for heading in ("network", "seed", "accuracy", "parameters", "FLOPs"):
        table.add_column(heading)
    table.add_column("difference")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {network: {} for network in NETWORKS}
        reports = []
        with Progress(console=console) as progress:
            runs = 2 * len(NETWORKS) * len(options.seeds)
            bar = progress.add_task("training", total=runs)
            for network, (build, strength) in NETWORKS.items():
                for seed in options.seeds:
                    dense = train(data, build, 0.0, seed)
                    progress.advance(bar)
                    model = train(data, build, strength, seed)
                    progress.advance(bar)
                    small = kreg.compact(model)
                    report = deploy_report(model, small, held_out)
                    accuracies = (
                        dense.evaluate(*held_out, verbose=0)[1],
                        report.after.metrics["accuracy"],
                    )
                    table.add_row(*seed_row(network, seed, accuracies, report))
                    if seed == options.seeds[0]:
                        reports.append((network, report))
                        for kind, made in (("dense", dense), ("kreg", small)):
                            path = folder / f"{network}-{kind}.tflite"
                            kreg.export(made, path, "litert")
                            files[network][kind] = path
        if options.peer:
            print("training the peer's networks", file=sys.stderr)
            theirs = pruned_by_the_peer(
                options.peer, data, options.seeds, folder
            )
            first = options.seeds[0]
            files["LeNet-300-100"]["pruned"] = folder / f"pruned-{first}.tflite"
            for seed, accuracy in theirs.items():
                table.add_row(
                    "LeNet-300-100, pruned", str(seed), f"{accuracy:.2%}"
                )
        console.print(table)
        for network, report in reports:
            console.print(network, report)
        for network, paths in files.items():
            console.print(files_table(network, paths, image))


if __name__ == "__main__":
    main()
