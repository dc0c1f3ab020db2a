"""Textbook, 5: regularization narrows the gap between training and test.

A network on 200 of scikit-learn's digits, in 10 random splits. One kernel holds
the layers of all splits, so one `fit` trains them all, from the same start at
every strength. Half of the other digits validate, half test. Data losses are
means over the splits; `change` is that of the gap between test and training
from strength 0, split by split, with its 95 % interval.

Run with: python textbook_gap.py
"""

import keras
import numpy as np
import rich
from rich.table import Table
from sklearn.datasets import load_digits

import kreg

SPLITS, STEPS, rng = 10, 300, np.random.default_rng(0)
x, y = load_digits(return_X_y=True)
rows = np.stack([rng.permutation(len(x)) for _ in range(SPLITS)], axis=1)
x, y = (x[rows] / 16).astype("float32"), y[rows]
cross_entropy = keras.losses.sparse_categorical_crossentropy


def dense(units, activation):
    start = keras.initializers.RandomNormal(stddev=0.15)
    return keras.layers.EinsumDense(
        "bsi,sio->bso", (SPLITS, units), activation, "so", start
    )


table = Table("penalty", "train", "validation", "test", "gap", "change")
for penalty in (kreg.L1(1.0), kreg.L2(1.0)):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((SPLITS, 64)), dense(64, "relu")])
    model.add(dense(10, "softmax"))
    adam = kreg.ProximalOptimizer(keras.optimizers.Adam(3e-3))
    model.compile(adam, cross_entropy, 10.0, steps_per_execution=STEPS)
    kreg.attach(model, penalty)
    adam.build(model.trainable_variables)
    state = [*model.variables, *adam.variables]
    start = [keras.ops.convert_to_numpy(v) for v in state]
    gaps = []
    for penalty.multiplier in (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        data = ((x[:200], y[:200]) for _ in range(STEPS))
        model.fit(data, steps_per_epoch=STEPS, shuffle=False, verbose=0)
        p = keras.ops.convert_to_numpy(model(x))
        loss = -np.log(np.take_along_axis(p, y[..., None], axis=2)[..., 0])
        train, val, test = (v.mean(0) for v in np.split(loss, [200, 998]))
        gaps.append(test - train)
        gap, change = gaps[-1], gaps[-1] - gaps[0]
        interval = 2.26 * change.std(ddof=1) / SPLITS**0.5
        means = [f"{v.mean():.3f}" for v in (train, val, test, gap, change)]
        means[-1] += f" ± {interval:.3f}"
        table.add_row(f"{type(penalty).__name__} {penalty.multiplier}", *means)
rich.print(table)
