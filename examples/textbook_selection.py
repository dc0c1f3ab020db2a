"""Textbook, 2: L1 selects inputs. How many inputs of noise does it keep?

Least squares on the 10 inputs of the diabetes data and 30 of noise. In each of
20 random splits half of the rows train and a quarter chooses the strength: the
best, or the strongest within one standard error of it. A quarter tests. One
kernel holds all splits. Figures are means with 95 % intervals.

Run with: python textbook_selection.py
"""

import keras
import numpy as np
import rich
from rich.table import Table
from sklearn.datasets import load_diabetes

import kreg

SPLITS, STEPS, rng = 20, 200, np.random.default_rng(0)
x, y = load_diabetes(return_X_y=True)
rows = np.stack([rng.permutation(len(x)) for _ in range(SPLITS)], axis=1)
x, y = np.dstack([x[rows], rng.normal(size=(*rows.shape, 30))]), y[rows]
x, y = ((v - v[:221].mean(axis=0)) / v[:221].std(axis=0) for v in (x, y))


def path(penalty):
    """The weights and the squared errors of all splits at every strength."""
    layer = keras.layers.EinsumDense(
        "bsi,si->bs", SPLITS, kernel_regularizer=penalty
    )
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    sgd = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    optimizer = kreg.ProximalOptimizer(sgd)
    model.compile(optimizer, "mse", float(SPLITS), steps_per_execution=STEPS)
    kreg.bind(model)
    for penalty.multiplier in np.geomspace(1, 0.01, 9).tolist():
        data = ((x[:221], y[:221]) for _ in range(STEPS))
        model.fit(data, steps_per_epoch=STEPS, shuffle=False, verbose=0)
        w = keras.ops.convert_to_numpy(layer.kernel)
        yield w, (y - np.einsum("bsi,si->bs", x, w)) ** 2


def mean(v):
    return f"{v.mean():.2f} ± {2.09 * v.std(ddof=1) / SPLITS**0.5:.2f}"


table = Table("penalty", "strength", "real of 10", "noise of 30", "test error")
for penalty in (kreg.L1(1.0), kreg.L2(1.0)):
    weights, errors = map(np.array, zip(*path(penalty), strict=True))
    loss, test = errors[:, 221:331].mean(axis=1), errors[:, 331:].mean(axis=1)
    best = loss.argmin(axis=0), range(SPLITS)
    margin = errors[:, 221:331].std(axis=1)[best] / 110**0.5
    for rule, slack in {"best": 0.0, "1 SE": margin}.items():
        at = (loss <= loss[best] + slack).argmax(axis=0), range(SPLITS)
        kept = np.add.reduceat(weights[at] != 0.0, [0, 10], axis=1, dtype=int).T
        name = type(penalty).__name__
        table.add_row(name, rule, *map(mean, (*kept, test[at])))
        print(f"{name}, {rule}: {kept[1].mean() / 30:.0%} of the noise is kept")
rich.print(table)
