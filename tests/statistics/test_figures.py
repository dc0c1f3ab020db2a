"""Every row of the table of figures against its formula in NumPy."""

import re
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import kreg
from kreg.statistics.figures import FIGURES
from kreg.statistics.reader import Reader

RATE, L1, THRESHOLD, DATA_LOSS = 0.1, 0.05, 0.1, 2.0
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
Y = RNG.normal(size=(16, 3)).astype("float32")


@dataclass
class Entries:
    """The entries of weights, and what training knows of them."""

    now: np.ndarray
    before: np.ndarray
    gradient: np.ndarray

    @property
    def penalty(self):
        return L1 * np.abs(self.now).sum()

    @property
    def residual(self):
        moved = self.now - self.gradient
        shrunk = np.sign(moved) * np.maximum(np.abs(moved) - L1, 0.0)
        return self.now - shrunk


def dead(kernels, axis):
    return sum((kernel == 0.0).all(axis).sum() for kernel in kernels)


# For each figure, its formula: of the entries of one or more weights, of the
# kernels that they are, and of the penalty of the whole model.
FORMULAS = {
    "size": lambda e, kernels, penalty: e.now.size,
    "zeros": lambda e, kernels, penalty: np.sum(e.now == 0.0),
    "near_zeros": lambda e, kernels, penalty: np.sum(
        np.abs(e.now) <= THRESHOLD
    ),
    "sparsity": lambda e, kernels, penalty: np.mean(e.now == 0.0),
    "near_zero": lambda e, kernels, penalty: np.mean(
        np.abs(e.now) <= THRESHOLD
    ),
    "penalty": lambda e, kernels, penalty: e.penalty,
    "penalty_share": lambda e, kernels, penalty: (
        e.penalty / (DATA_LOSS + penalty)
    ),
    "l1_norm": lambda e, kernels, penalty: np.abs(e.now).sum(),
    "l2_norm": lambda e, kernels, penalty: np.linalg.norm(e.now),
    "max_norm": lambda e, kernels, penalty: np.abs(e.now).max(),
    "rms": lambda e, kernels, penalty: np.sqrt(np.mean(e.now**2)),
    "dead_units": lambda e, kernels, penalty: dead(kernels, 0),
    "dead_inputs": lambda e, kernels, penalty: dead(kernels, 1),
    "update_norm": lambda e, kernels, penalty: np.linalg.norm(e.now - e.before),
    "update_ratio": lambda e, kernels, penalty: (
        np.linalg.norm(e.now - e.before) / np.linalg.norm(e.now)
    ),
    "gradient_norm": lambda e, kernels, penalty: np.linalg.norm(e.gradient),
    "optimality": lambda e, kernels, penalty: np.linalg.norm(e.residual),
}


def test_every_figure_has_a_formula():
    assert {figure.name for figure in FIGURES} == set(FORMULAS)


@pytest.fixture(scope="module")
def trained():
    """A reading after one step of two linear layers, and their entries."""
    first, second = (
        layers.Dense(
            units, use_bias=False, kernel_regularizer=kreg.L1(L1), name=name
        )
        for units, name in ((4, "first"), (3, "second"))
    )
    model = keras.Sequential([keras.Input((5,)), first, second], name="net")
    kernels = [RNG.normal(size=(5, 4)), RNG.normal(size=(4, 3))]
    kernels[0][:, 0] = 0.0
    kernels[0][1] = 0.0
    kernels[1][0] = 0.0  # no gradient brings the dead unit back
    kernels = [kernel.astype("float32") for kernel in kernels]
    model.set_weights(kernels)
    sgd = keras.optimizers.SGD(RATE, momentum=0.9)
    model.compile(kreg.ProximalOptimizer(sgd), "mse")
    kreg.bind(model)
    reader = Reader(THRESHOLD)
    before = reader.weights_before(model)
    before.take()
    model.fit(X, Y, batch_size=16, verbose=0)
    reading = reader(model, compiled=True, data_loss=DATA_LOSS)
    residual = 2.0 / Y.size * (X @ kernels[0] @ kernels[1] - Y)
    gradients = [X.T @ residual @ kernels[1].T, (X @ kernels[0]).T @ residual]
    after = model.get_weights()
    return reading, after, kernels, gradients


def close(value, expected):
    return value == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_figure_of_a_weight_and_of_a_layer(name, trained):
    reading, *arrays = trained
    penalty = sum(L1 * np.abs(kernel).sum() for kernel in arrays[0])
    for weight, layer, *own in zip(
        reading.weights, reading.layers, *arrays, strict=True
    ):
        expected = FORMULAS[name](Entries(*own), own[:1], penalty)
        assert close(getattr(weight, name), expected)
        assert close(getattr(layer, name), expected)
        assert close(weight.to_dict()[name], expected)


@pytest.mark.parametrize("name", FORMULAS)
def test_figure_of_a_model(name, trained):
    reading, *arrays = trained
    penalty = sum(L1 * np.abs(kernel).sum() for kernel in arrays[0])
    entries = Entries(
        *(np.concatenate([a.ravel() for a in part]) for part in arrays)
    )
    expected = FORMULAS[name](entries, arrays[0], penalty)
    assert close(getattr(reading, name), expected)


def test_each_logged_figure_has_a_title_in_the_tab():
    page = Path(__file__).parents[2] / "kreg_tensorboard/page/figures.js"
    titled = re.findall(r"^  (\w+): \[", page.read_text(), re.MULTILINE)
    assert {figure.name for figure in FIGURES if figure.logged} <= set(titled)


def test_row_says_what_it_is():
    for figure in FIGURES:
        assert figure.title
        assert figure.meaning.endswith(".")
        assert figure.measure is None or figure.formula is None


def test_figures_of_a_reading_cannot_be_set(trained):
    reading, *_ = trained
    with pytest.raises(AttributeError):
        reading.sparsity = 0.5
    with pytest.raises(AttributeError):
        reading.weights[0].l1_norm = 0.5
