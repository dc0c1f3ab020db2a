"""What `kreg.compact` leaves of a transformer.

It classifies scikit-learn's handwritten digits. The eight rows of a digit are
tokens, as in `examples/smaller_transformer.py`; two blocks have four heads and
128 hidden units each. The network is trained without a penalty; then with
penalties on heads and hidden units; then with the zeros frozen; then comes
`kreg.compact`. It is compared with the same network trained as long without a
penalty. Each seed has 500 digits of its own to test on. The models are written
for LiteRT, and all files are timed in turn, on one thread; `predict_on_batch`
is timed in turn, too.

Run with:
    python benchmarks/digits.py [--networks transformer] [--seeds 0 1 2]
"""

import argparse
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from compaction import files_table, seed_row
from interleaved import in_turn, interval
from keras import layers
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg
from kreg.deployment import deploy_report

BATCH_SIZE, ROUNDS, CALLS = 64, 60, 20


def transformer(width=32, heads=4, hidden=128):
    inputs = keras.Input((8, 8))
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


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    Args:
        build: makes it.
        rules: the penalties, as for `kreg.attach`.
        epochs: without a penalty, with it, and with frozen zeros.
        rate: the learning rate; half of it with frozen zeros.
    """

    build: object
    rules: dict
    epochs: tuple
    rate: float


NETWORKS = {
    "transformer": Network(
        transformer,
        {
            "attention_*": kreg.GroupLasso(2e-3, groups="heads"),
            "hidden_*/kernel": kreg.GroupLasso(1.2e-3),
        },
        (30, 30, 30),
        2e-3,
    ),
}


def digits(seed):
    """Training and test data."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8).astype("float32") / 16
    x, x_test, y, y_test = train_test_split(
        x, y, test_size=500, stratify=y, random_state=seed
    )
    return (x, y), (x_test, y_test)


def fit(model, data, optimizer, epochs):
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*data, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)


def trained(network, data, seed):
    """The dense network, and the one with penalties."""

    def adam(part=1.0):
        return keras.optimizers.Adam(part * network.rate)

    first, second, third = network.epochs
    keras.utils.set_random_seed(seed)
    dense = network.build()
    fit(dense, data, adam(), first)
    sparse = network.build()
    sparse.set_weights(dense.get_weights())
    fit(dense, data, adam(), second)
    fit(dense, data, adam(0.5), third)
    kreg.attach(sparse, network.rules)
    fit(sparse, data, kreg.ProximalOptimizer(adam()), second)
    kreg.freeze_support(sparse)
    fit(sparse, data, kreg.ProximalOptimizer(adam(0.5)), third)
    return dense, sparse


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    console = Console(width=130)
    table = Table(title="kreg.compact")
    for heading in ("network", "seed", "accuracy", "parameters", "FLOPs"):
        table.add_column(heading)
    table.add_column("difference")
    models, files, images = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        runs = len(options.networks) * len(options.seeds)
        bar = progress.add_task("training", total=runs)
        for name in options.networks:
            network = NETWORKS[name]
            models[name], files[name] = {}, {}
            for seed in options.seeds:
                data, test = digits(seed)
                dense, sparse = trained(network, data, seed)
                small, compaction = kreg.compact(sparse, return_compaction=True)
                report = deploy_report(sparse, small, test)
                accuracies = (
                    dense.evaluate(*test, verbose=0, return_dict=True),
                    report.after.metrics,
                )
                row = seed_row(
                    name,
                    seed,
                    [values["accuracy"] for values in accuracies],
                    report,
                )
                table.add_row(*row)
                console.print(*row, sep="; ")
                made = {f"compact {seed}": small}
                if seed == options.seeds[0]:
                    made = {"dense": dense, **made}
                    images[name] = test[0][:1]
                    console.print(compaction)
                for kind, model in made.items():
                    path = Path(folder, f"{name}-{kind}.tflite")
                    kreg.export(model, path, "litert")
                    models[name][kind], files[name][kind] = model, path
                progress.advance(bar)
        progress.stop()
        console.print(table)
        for name in options.networks:
            console.print(files_table(name, files[name], images[name]))
            console.print(predictions_table(name, models[name], images[name]))


if __name__ == "__main__":
    main()
