"""What the textbook says of L1 and L2, measured on real data.

Each statement is measured in many random splits: some rows train, some choose
the strength of each split, and where it matters some test. One kernel holds the
models of all splits, so one `kreg.path` trains them all.

Figures are means over the splits with 95 % intervals. They hold for these data
sets alone: splits of the same rows are no new data. A claim that a figure is
higher than another is found true if the interval of the difference, split by
split, lies above 0. The verdict on a statement follows from its claims.

Run with: python textbook.py
"""

import keras
import numpy as np
import rich
from rich.table import Table
from scipy.stats import t
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import kreg

# Each statement of the textbook with its claims. A claim has the column of a
# table, what is higher there, and what is lower: rows of the table, or numbers.
STATEMENTS = {
    "L1 gives exact zeros, and L2 does not": {
        "L1 by proximal steps gives zeros": ("zeros of 30", "L1", 0.0),
        "L2 gives none": ("zeros of 30", 0.1, "L2"),
        "L1 in the loss gives zeros": ("zeros of 30", "L1 in the loss", 0.0),
    },
    "L1 selects inputs": {
        "L1 drops noise that L2 keeps": ("noise kept", "L2, best", "L1, best"),
        "at one standard error it drops 90 %": ("noise kept", 3, "L1, 1 SE"),
        "at the best strength it drops 90 %": ("noise kept", 3, "L1, best"),
    },
    "L2 spreads evenly over correlated inputs where L1 picks": {
        "L1 drops copies": ("kept", "copies, L2", "copies, L1"),
        "L1 drops sizes": ("kept", "sizes, L2", "sizes, L1"),
        "L2 spreads wider over copies": ("spread", "copies, L2", "copies, L1"),
        "L2 spreads wider over sizes": ("spread", "sizes, L2", "sizes, L1"),
        "L2 is 90 % even over copies": ("spread", "copies, L2", 0.9),
        "L2 is 90 % even over sizes": ("spread", "sizes, L2", 0.9),
    },
    "L1 + L2 keep groups of correlated inputs": {
        "both keep more copies than L1": ("kept", "copies, both", "copies, L1"),
        "both keep more sizes than L1": ("kept", "sizes, both", "sizes, L1"),
        "both drop other inputs": ("others dropped", "copies, both", 0.0),
        "both keep 90 % of the copies": ("kept", "copies, both", 0.9),
        "both keep 90 % of the sizes": ("kept", "sizes, both", 0.9),
    },
    "Regularization narrows the gap between training and test": {
        "L1 narrows it": ("gap", "none", "L1"),
        "L2 narrows it": ("gap", "none", "L2"),
        "L1 lowers the test loss": ("test", "none", "L1"),
        "L2 lowers the test loss": ("test", "none", "L2"),
    },
    "L1 is more robust to outliers": {
        "it is as a loss, to targets": ("targets", "squared", "absolute"),
        "it is as a penalty, to targets": ("targets", "squared", "with L1"),
        "it is as a penalty, to inputs": ("inputs", "squared", "with L1"),
        "it is more so than L2": ("targets", "with L2", "with L1"),
    },
}
STRENGTHS = np.geomspace(1, 1e-3, 10)
FAMILIES = {"L1": kreg.L1, "L2": kreg.L2}
FALLING = keras.optimizers.schedules.CosineDecay(0.1, 1000)
LOGISTIC = keras.losses.BinaryCrossentropy(from_logits=True)


def shuffled(x, y, splits=20):
    """The rows in a random order for each split; splits are axis 1."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(len(x)) for _ in range(splits)], axis=1)
    return x[rows].astype("float32"), y[rows].astype("float32")


def scaled(values, train):
    """Values with mean 0 and deviation 1 in the training rows, the first."""
    return (values - values[:train].mean(0)) / values[:train].std(0)


def linear_models(shape, loss, rate, penalty=None):
    """A linear model for each split, all in one."""
    layer = keras.layers.EinsumDense(
        "bsi,si->bs", shape[0], bias_axes="s", kernel_regularizer=penalty
    )
    model = keras.Sequential([keras.Input(shape), layer])
    sgd = keras.optimizers.SGD(rate, momentum=0.95, nesterov=True)
    # Keras takes the mean over the splits; the weight makes it their sum.
    model.compile(sgd, loss, loss_weights=float(shape[0]))
    return model


def solved(x, y, penalty, strengths=STRENGTHS, loss="mse", rate=0.1):
    """The kernels and the biases of all splits at each strength."""
    path = kreg.path(
        lambda: linear_models(x.shape[1:], loss, rate),
        (x, y),
        penalty,
        strengths,
        training=kreg.selection.Training(epochs=1000, batch_size=None),
        verbose=0,
    )
    return [np.stack(weights) for weights in zip(*path.weights, strict=True)]


def outputs(x, kernels, biases):
    return np.einsum("bsi,ksi->kbs", x, kernels) + biases[:, None]


def chosen(losses, errors=0.0):
    """The strength of each split, by the losses of its held out rows.

    It is the strongest that is at most `errors` standard errors worse than
    the best.
    """
    means, splits = losses.mean(1), np.arange(losses.shape[2])
    best = means.argmin(0), splits
    margin = losses.std(1)[best] / losses.shape[1] ** 0.5
    return (means <= means[best] + errors * margin).argmax(0), splits


def interval(values):
    """The mean over the splits, and half of its 95 % interval."""
    quantile = t.ppf(0.975, len(values) - 1) / len(values) ** 0.5
    return np.mean(values), quantile * np.std(values, ddof=1)


def is_found(figures, column, high, low):
    """Whether the interval of `high - low`, split by split, is above 0."""
    high, low = (
        figures[end][column] if isinstance(end, str) else end
        for end in (high, low)
    )
    mean, half = interval(high - low)
    return mean - half > 0.0


def verdict(figures, claims):
    """The verdict on a statement, from the claims that are found true."""
    holds = {text: is_found(figures, *claim) for text, claim in claims.items()}
    right = "; ".join(text for text in holds if holds[text])
    wrong = "; ".join(text for text in holds if not holds[text])
    if not wrong:
        return "holds"
    if not right:
        return f"does not hold: no evidence that {wrong}"
    return f"holds in part: {right}. No evidence that {wrong}"


def zeros():
    """Logistic regression on the breast cancer data."""
    x, y = shuffled(*load_breast_cancer(return_X_y=True))
    x, strengths = scaled(x, 284), np.geomspace(0.1, 3e-4, 8)
    kernels, best = {}, {}
    for name, family in FAMILIES.items():
        fits = solved(x[:284], y[:284], family, strengths, LOGISTIC, 0.3)
        logits = outputs(x[284:], *fits)
        place = chosen(np.logaddexp(0.0, logits) - y[284:] * logits)
        kernels[name], best[name] = fits[0][place], strengths[place[0]]
    # The same strengths as of proximal L1, one for each split, in the loss.
    penalty = kreg.L1(1.0, factors=best["L1"][:, None])
    model = linear_models(x.shape[1:], LOGISTIC, 0.3, penalty)
    kreg.bind(model)
    for _ in range(1000):
        model.train_on_batch(x[:284], y[:284])
    kernels["L1 in the loss"] = model.get_weights()[0]
    limits = {"zeros of 30": 0.0, "below 0.001": 1e-3}
    return {
        name: {c: (abs(w) <= limit).sum(1) for c, limit in limits.items()}
        for name, w in kernels.items()
    }


def selection():
    """The diabetes data with 30 inputs of noise, which differ by split."""
    x, y = shuffled(*load_diabetes(return_X_y=True))
    noise = np.random.default_rng(1).normal(size=(*y.shape, 30))
    x, y = scaled(np.dstack([x, noise]), 221), scaled(y, 221)
    figures = {}
    for name, family in FAMILIES.items():
        fits = solved(x[:221], y[:221], family)
        losses = (outputs(x[221:], *fits) - y[221:]) ** 2
        for rule, errors in {"best": 0.0, "1 SE": 1.0}.items():
            place = chosen(losses[:, :110], errors)
            kept = fits[0][place] != 0.0
            figures[f"{name}, {rule}"] = {
                "kept of 10": kept[:, :10].sum(1),
                "noise kept": kept[:, 10:].sum(1),
                "test error": losses[:, 110:].mean(1)[place],
            }
    return figures


def groups():
    """Four noisy copies of the body mass index, and six sizes of nuclei."""
    inputs, y = load_diabetes(return_X_y=True)
    noise = np.random.default_rng(0).normal(scale=0.007, size=(len(y), 4))
    copies = inputs[:, [2] * 4] + noise
    copies = np.hstack([copies, np.delete(inputs, 2, axis=1)]), y, range(4)
    sizes = *load_breast_cancer(return_X_y=True), [0, 2, 3, 20, 22, 23]
    families = FAMILIES | {"both": lambda s: kreg.L1L2(s / 2, s / 2)}
    figures = {}
    for data, (*arrays, group) in {"copies": copies, "sizes": sizes}.items():
        half = len(arrays[0]) // 2
        x, y = (scaled(values, half) for values in shuffled(*arrays))
        for name, family in families.items():
            fits = solved(x[:half], y[:half], family, rate=0.04)
            w = fits[0][chosen((outputs(x[half:], *fits) - y[half:]) ** 2)]
            inside, others = abs(w[:, group]), np.delete(w, group, axis=1)
            spread = inside.sum(1) ** 2 / (inside**2).sum(1)
            figures[f"{data}, {name}"] = {
                "kept": (inside > 0.0).mean(1),
                "spread": spread / len(group),
                "others dropped": (others == 0.0).mean(1),
            }
    return figures


def networks(splits, strengths, family):
    """A network for each split and strength, all in one, of equal starts."""

    def start(shape, dtype):
        rng = np.random.default_rng(0)
        kernel = rng.normal(scale=0.15, size=(splits, 1, *shape[2:]))
        return kernel.repeat(shape[1], axis=1).astype(dtype)

    def dense(units, equation, activation):
        return keras.layers.EinsumDense(
            equation,
            (splits, len(strengths), units),
            activation,
            bias_axes="sko",
            kernel_initializer=start,
            kernel_regularizer=family(1.0, factors=strengths[:, None, None]),
        )

    model = keras.Sequential([keras.Input((splits, 64))])
    model.add(dense(64, "bsi,skio->bsko", "relu"))
    model.add(dense(10, "bski,skio->bsko", "softmax"))
    model.add(keras.layers.Reshape((-1, 10)))
    adam = kreg.ProximalOptimizer(keras.optimizers.Adam(3e-3))
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(adam, loss, loss_weights=float(splits * len(strengths)))
    kreg.bind(model)
    return model


def gap():
    """200 digits train a network, from the same start at each strength."""
    strengths = np.array([1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 0.0])
    x, y = shuffled(*load_digits(return_X_y=True), 10)
    x, y = x / 16, y.repeat(len(strengths), axis=1).astype(int)
    figures = {}
    for name, family in FAMILIES.items():
        model = networks(10, strengths, family)
        for _ in range(300):
            model.train_on_batch(x[:200], y[:200])
        p = keras.ops.convert_to_numpy(model(x))
        losses = -np.log(np.take_along_axis(p, y[..., None], axis=2))
        losses = losses.reshape(len(x), 10, -1).transpose(2, 0, 1)
        train, held, test = np.split(losses, [200, 998], axis=1)
        train, test = train.mean(1), test.mean(1)
        for row, at in (("none", -1), (name, chosen(held))):
            columns = {"train": train, "test": test, "gap": test - train}
            figures[row] = {c: values[at] for c, values in columns.items()}
    return figures


def with_outliers():
    """The diabetes data, then with wrong targets, then with wrong inputs."""
    x, y = (scaled(v, 221) for v in shuffled(*load_diabetes(return_X_y=True)))
    rng = np.random.default_rng(0)
    off = 10.0 * (rng.random(y.shape) < 0.1)
    which = np.eye(10)[rng.integers(10, size=y.shape)]
    inputs = np.hstack([x, x, x + off[..., None] * which])
    return inputs, np.hstack([y, y + off, y])


def outliers():
    """Weights moved by 10 deviations in a tenth of the targets, or inputs."""
    inputs, targets = with_outliers()
    x, y = inputs[221:, :20], targets[221:, :20]
    figures = {}
    for name, arguments in {
        "squared": (kreg.L2, [0.0], "mse", FALLING),
        "Huber": (kreg.L2, [0.0], "huber", FALLING),
        "absolute": (kreg.L2, [0.0], "mae", FALLING),
        "with L1": (kreg.L1,),
        "with L2": (kreg.L2,),
    }.items():
        fits = solved(inputs[:221], targets[:221], *arguments)
        clean = outputs(x, *(weights[:, :20] for weights in fits))
        place, _ = chosen((clean - y) ** 2)
        w = fits[0][np.tile(place, 3), range(60)].reshape(3, 20, 10)
        moved = abs(w[1:] - w[0]).sum(2) / abs(w[0]).sum(1)
        figures[name] = {"targets": moved[0], "inputs": moved[1]}
    return figures


def main():
    statements = enumerate(STATEMENTS.items(), start=1)
    for measured in (zeros, selection, groups, gap, outliers):
        figures = measured()
        table = Table("", *next(iter(figures.values())))
        for name, row in figures.items():
            cells = (
                "{:.3f} ± {:.3f}".format(*interval(v)) for v in row.values()
            )
            table.add_row(name, *cells)
        rich.print(measured.__doc__, table)
        # Two statements are about the figures of `groups`.
        for _ in range(2 if measured is groups else 1):
            number, (text, claims) = next(statements)
            rich.print(f"{number}. {text}: {verdict(figures, claims)}.")


if __name__ == "__main__":
    main()
