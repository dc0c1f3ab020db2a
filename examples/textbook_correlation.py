"""Textbook, 3 and 4: among correlated inputs L1 picks, L2 spreads, both keep.

Least squares on the diabetes data with four noisy copies of the body mass index
(correlation 0.98), and on the breast cancer data with its six sizes of nuclei
(0.94 and up). In each of 20 random splits half of the rows train and half
choose the strength. "Spread" is `sum(abs(w)) ** 2 / sum(w ** 2)` in a group:
1 if one input has all the weight, the group's size if all have the same.

Run with: python textbook_correlation.py
"""

import keras
import numpy as np
import rich
from rich.table import Table
from sklearn.datasets import load_breast_cancer, load_diabetes

import kreg

STEPS, rng = 200, np.random.default_rng(0)
x, y = load_diabetes(return_X_y=True)
x = np.hstack([x[:, [2] * 4] + rng.normal(scale=0.007, size=(442, 4)), x])
copies = np.delete(x, 6, axis=1), y, [0, 1, 2, 3]
sizes = *load_breast_cancer(return_X_y=True), [0, 2, 3, 20, 22, 23]


def chosen(x, y, penalty):
    """The weights of each of 20 splits at the best strength of each."""
    layer = keras.layers.EinsumDense("bsi,si->bs", 20)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    sgd = keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True)
    optimizer = kreg.ProximalOptimizer(sgd)
    model.compile(optimizer, "mse", 20.0, steps_per_execution=STEPS)
    kreg.attach(model, penalty)
    weights, losses, half = [], [], len(x) // 2
    for penalty.multiplier in np.geomspace(1, 1e-3, 10).tolist():
        data = ((x[:half], y[:half]) for _ in range(STEPS))
        model.fit(data, steps_per_epoch=STEPS, shuffle=False, verbose=0)
        weights.append(keras.ops.convert_to_numpy(layer.kernel))
        errors = y - np.einsum("bsi,si->bs", x, weights[-1])
        losses.append((errors[half:] ** 2).mean(axis=0))
    return np.array(weights)[np.argmin(losses, axis=0), range(20)]


table = Table("group", "penalty", "kept", "spread", "zeros elsewhere")
for name, (x, y, group) in {"4 copies": copies, "6 sizes": sizes}.items():
    rows = np.stack([rng.permutation(len(x)) for _ in range(20)], axis=1)
    x, y = ((v[rows] - v.mean(axis=0)) / v.std(axis=0) for v in (x, y))
    for penalty in (kreg.L1(1.0), kreg.L2(1.0), kreg.L1L2(0.5, 0.5)):
        w = chosen(x, y, penalty)
        inside, zeros = abs(w[:, group]), (w == 0.0).sum(axis=1)
        kept = (inside > 0.0).sum(axis=1)
        spread = inside.sum(axis=1) ** 2 / (inside**2).sum(axis=1)
        figures = np.stack([kept, spread, zeros + kept - len(group)])
        ends = 2.09 * figures.std(axis=1, ddof=1) / 20**0.5
        means = map("{:.2f} ± {:.2f}".format, figures.mean(axis=1), ends)
        table.add_row(name, type(penalty).__name__, *means)
rich.print(table)
