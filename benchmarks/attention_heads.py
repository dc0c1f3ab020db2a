"""Whole attention heads: tied groups against a group in each weight.

A task that one or two heads can do: six tokens are pairs of a key and a value,
the seventh is the key of one of them, and its value is asked for. The model has
one attention layer of eight heads. It is trained without a penalty, then with

- tied: `GroupLasso(s, groups="heads")`, one group for all weights of a head;
- separate: `GroupLasso(s)` on each of the seven weights, with the part of a
  head in that weight as a group.

Both penalize the same entries, and cost the same where the parts of a head are
alike. Then the zeros stay while the rest trains on, and `kreg.compact` removes
what it can. Heads are counted that are zero in all seven weights, and those
that are zero in some of them alone.

Run with:
    python benchmarks/attention_heads.py [--seeds 0 1 2] [--strengths ...]
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import kreg

KEYS, VALUES, PAIRS = 8, 8, 6
WIDTH, HEADS, SIZE = 32, 8, 4
ROWS, BATCH_SIZE, RATE = 8192, 128, 3e-3
DENSE, PENALIZED, REFIT = 15, 25, 5


def questions(rows, seed):
    """Pairs and a key, as one-hot vectors, and the value of that key."""
    rng = np.random.default_rng(seed)
    keys = rng.permuted(np.tile(np.arange(KEYS), (rows, 1)), axis=1)[:, :PAIRS]
    values = rng.integers(0, VALUES, (rows, PAIRS))
    asked = rng.integers(0, PAIRS, rows)
    x = np.zeros((rows, PAIRS + 1, KEYS + VALUES), "float32")
    row, pair = np.indices(keys.shape)
    x[row, pair, keys] = 1.0
    x[row, pair, KEYS + values] = 1.0
    each = np.arange(rows)
    x[each, PAIRS, keys[each, asked]] = 1.0
    return x, values[each, asked]


def build():
    inputs = keras.Input((PAIRS + 1, KEYS + VALUES))
    tokens = keras.layers.Dense(WIDTH)(inputs)
    attention = keras.layers.MultiHeadAttention(HEADS, SIZE, name="attention")
    last = (tokens + attention(tokens, tokens))[:, -1]
    hidden = keras.layers.Dense(WIDTH, "relu")(last)
    return keras.Model(inputs, keras.layers.Dense(VALUES)(hidden))


def parts_of_heads(model):
    """The weights of the attention layer that heads have parts of.

    Returns:
        Pairs of a variable and its axis of heads.
    """
    layer = model.get_layer("attention")
    pairs = [
        (weight, len(weight.shape) - 2)
        for name in ("query", "key", "value")
        for part in [getattr(layer, f"{name}_dense")]
        for weight in (part.kernel, part.bias)
    ]
    return [*pairs, (layer.output_dense.kernel, 0)]


def tied(model, strength):
    penalty = kreg.GroupLasso(strength, groups="heads")
    kreg.attach(model, {"attention": penalty})


def separate(model, strength):
    rules = []
    for weight, axis in parts_of_heads(model):
        inside = tuple(a for a in range(len(weight.shape)) if a != axis)
        rules.append((weight, kreg.GroupLasso(strength, groups=inside)))
    kreg.attach(model, rules)


def fit(model, data, optimizer, epochs):
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*data, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)


def zeros_of_heads(model):
    """How many heads are zero in all weights, and how many in some alone."""
    zero = np.array(
        [
            [not part.any() for part in np.moveaxis(weight.numpy(), axis, 0)]
            for weight, axis in parts_of_heads(model)
        ]
    )
    return zero.all(axis=0).sum(), (zero.any(axis=0) & ~zero.all(axis=0)).sum()


def figures(model, test):
    """What is zero in a model, and what `kreg.compact` leaves of it."""
    small = kreg.compact(model)
    small.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    accuracy = small.evaluate(*test, verbose=0, return_dict=True)["accuracy"]
    heads = small.get_layer("attention").num_heads
    return (*zeros_of_heads(model), heads, small.count_params(), accuracy)


def runs(seed, strengths, advance):
    """Yield a name, a strength and the figures of each trained model."""
    train, test = questions(ROWS, seed), questions(4000, 1000 + seed)
    keras.utils.set_random_seed(seed)
    model = build()
    fit(model, train, keras.optimizers.Adam(RATE), DENSE)
    dense = model.get_weights()
    longer = PENALIZED + REFIT
    fit(model, train, keras.optimizers.Adam(RATE), longer)
    yield "dense", 0.0, figures(model, test)
    advance()
    for name, attach in (("tied", tied), ("separate", separate)):
        for strength in strengths:
            keras.utils.set_random_seed(seed)
            model = build()
            model.set_weights(dense)
            attach(model, strength)
            adam = keras.optimizers.Adam(RATE)
            fit(model, train, kreg.ProximalOptimizer(adam), PENALIZED)
            kreg.freeze_support(model)
            adam = keras.optimizers.Adam(RATE / 3)
            fit(model, train, kreg.ProximalOptimizer(adam), REFIT)
            yield name, strength, figures(model, test)
            advance()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3, 3e-3]
    )
    options = parser.parse_args()
    console = Console(width=110)
    found = {}
    with Progress(console=console) as progress:
        each = 1 + 2 * len(options.strengths)
        bar = progress.add_task("training", total=each * len(options.seeds))
        for seed in options.seeds:
            for name, strength, values in runs(
                seed, options.strengths, lambda: progress.advance(bar)
            ):
                found.setdefault((name, strength), []).append(values)
    table = Table(
        title=f"{HEADS} heads, {PAIRS} pairs; seeds {options.seeds}",
    )
    for heading in (
        *("groups", "strength", "zero in all weights", "in some alone"),
        *("heads of compact", "parameters", "accuracy"),
    ):
        table.add_column(heading, justify="right")
    for (name, strength), values in found.items():
        *counts, accuracy = zip(*values, strict=True)
        table.add_row(
            name,
            f"{strength:g}" if strength else "",
            *(", ".join(f"{n:,}" for n in count) for count in counts),
            ", ".join(f"{value:.1%}" for value in accuracy),
        )
    console.print(table)


if __name__ == "__main__":
    main()
