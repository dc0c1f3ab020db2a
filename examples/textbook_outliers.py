"""Textbook, 6: "L1 is robust to outliers". As a loss, or as a penalty?

Linear models of the diabetes data, in 20 random splits, half to train and half
to choose the strength. Then a tenth of the training targets, or one input of a
tenth of the rows, is 10 deviations off. How far do the weights move, relative
to the clean ones (L1 norms)? Means with 95 % intervals over the splits.

Run with: python textbook_outliers.py
"""

import keras
import numpy as np
import rich
from rich.table import Table
from sklearn.datasets import load_diabetes

import kreg

STEPS, rng = 300, np.random.default_rng(0)
x, y = load_diabetes(return_X_y=True)
rows = np.stack([rng.permutation(len(x)) for _ in range(20)], axis=1)
x, y = ((v[rows] - v.mean(axis=0)) / v.std(axis=0) for v in (x, y))
hit = np.zeros(y.shape)
hit[:221] = 10.0 * (rng.random((221, 20)) < 0.1)
hit_input = hit[..., None] * (rng.integers(10, size=(*y.shape, 1)) == range(10))
inputs = np.concatenate([x, x, x + hit_input], axis=1).astype("float32")
targets = np.concatenate([y, y + hit, y], axis=1).astype("float32")


def weights(loss, penalty, strengths):
    """The weights (clean, targets off, inputs off) at the best strengths."""
    layer = keras.layers.EinsumDense("bsi,si->bs", 60, bias_axes="s")
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
    sgd = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    optimizer = kreg.ProximalOptimizer(sgd)
    model.compile(optimizer, loss, 60.0, steps_per_execution=STEPS)
    kreg.attach(model, penalty)
    kernels, errors = [], []
    for penalty.multiplier in strengths:
        data = ((inputs[:221], targets[:221]) for _ in range(STEPS))
        model.fit(data, steps_per_epoch=STEPS, shuffle=False, verbose=0)
        kernels.append(keras.ops.convert_to_numpy(layer.kernel))
        error = y - np.einsum("bsi,si->bs", x, kernels[-1][:20])
        errors.append((error[221:] ** 2).mean(axis=0))
    best = np.tile(np.argmin(errors, axis=0), 3)
    return np.array(kernels)[best, range(60)].reshape(3, 20, 10)


path = np.geomspace(1, 1e-3, 10).tolist()
table = Table("loss", "penalty", "targets off", "inputs off")
for case in ("mse none", "mse L1", "mse L2", "huber none", "mae none"):
    loss, name = case.split()
    penalty = kreg.L1(1.0) if name == "L1" else kreg.L2(1.0)
    w = weights(loss, penalty, [0.0] * 4 if name == "none" else path)
    moved = abs(w[1:] - w[0]).sum(axis=2) / abs(w[0]).sum(axis=1)
    ends = 2.09 * moved.std(axis=1, ddof=1) / 20**0.5
    means = map("{:.2f} ± {:.2f}".format, moved.mean(axis=1), ends)
    table.add_row(loss, name, *means)
rich.print(table)
