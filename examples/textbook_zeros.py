"""Textbook, 1: L1 gives exact zeros, and L2 does not.

Logistic regression on the 30 inputs of the breast cancer data. In each of 20
random splits half of the rows train, a quarter chooses the strength, and a
quarter tests. One kernel holds all splits, so one `fit` trains them all.
Figures are means with 95 % intervals over the splits.

Run with: python textbook_zeros.py
"""

import keras
import numpy as np
import rich
from rich.table import Table
from sklearn.datasets import load_breast_cancer

import kreg

SPLITS, STEPS, rng = 20, 200, np.random.default_rng(0)
x, y = load_breast_cancer(return_X_y=True)
rows = np.stack([rng.permutation(len(x)) for _ in range(SPLITS)], axis=1)
x, y = x[rows].astype("float32"), y[rows].astype("float32")
x = (x - x[:284].mean(axis=0)) / x[:284].std(axis=0)


def chosen(penalty, optimizer):
    """The weights of each split at its best strength, and their test loss."""
    layer = keras.layers.EinsumDense(
        "bsi,si->bs", SPLITS, bias_axes="s", kernel_regularizer=penalty
    )
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer, loss, float(SPLITS), steps_per_execution=STEPS)
    kreg.bind(model)
    kernels, losses = [], []
    for penalty.multiplier in np.geomspace(0.1, 1e-4, 10).tolist():
        data = ((x[:284], y[:284]) for _ in range(STEPS))
        model.fit(data, steps_per_epoch=STEPS, shuffle=False, verbose=0)
        kernels.append(keras.ops.convert_to_numpy(layer.kernel))
        logits = keras.ops.convert_to_numpy(model(x))
        losses.append(np.logaddexp(0.0, logits) - y * logits)
    best = np.array(losses)[:, 284:426].mean(axis=1).argmin(axis=0)
    test = np.array(losses)[:, 426:].mean(axis=1)
    return [v[best, range(SPLITS)] for v in (np.array(kernels), test)]


def mean(v):
    return f"{v.mean():.2f} ± {2.09 * v.std(ddof=1) / SPLITS**0.5:.2f}"


table = Table("penalty", "exact zeros of 30", "|w| < 0.01", "test loss")
for name in ("L1 in the loss", "L1", "L2"):
    sgd = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    optimizer = sgd if "loss" in name else kreg.ProximalOptimizer(sgd)
    w, loss = chosen(getattr(kreg, name[:2])(1.0), optimizer)
    zeros, small = (w == 0.0).sum(axis=1), (abs(w) < 0.01).sum(axis=1)
    table.add_row(name, *map(mean, (zeros, small, loss)))
    print(f"{name}: exact zeros in {(zeros > 0).sum()} of {SPLITS} splits")
rich.print(table)
