"""`strength_max` where inputs and targets lie far from zero.

Single precision has about seven digits. So the reference takes the means off in
double precision, which changes nothing in exact arithmetic.
"""

import keras
import numpy as np
import pytest
from keras import layers
from thorough import few_of

import kreg
from kreg.selection import StrengthGrid, Training, path, strength_max

ROWS, INPUTS = 200, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, INPUTS))
Y = X @ np.array([[1.5], [-1.0], [0.5], [0.0]]) + RNG.normal(size=(ROWS, 1))
SPREAD = np.array([1.0, 3.0, 10.0, 0.5])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x):
        return self.dense(x)


class OwnStep(Subclassed):
    def train_step(self, *args):
        return super().train_step(*args)


def sequential(*before, shape=(INPUTS,), **arguments):
    return keras.Sequential(
        [keras.Input(shape), *before, layers.Dense(1, **arguments)]
    )


def of_two_inputs():
    left, right = keras.Input((2,)), keras.Input((2,))
    joined = layers.Concatenate()([left, right])
    return keras.Model([left, right], layers.Dense(1)(joined))


def of_named_inputs():
    inputs = {name: keras.Input((2,), name=name) for name in ("a", "b")}
    joined = layers.Concatenate()([inputs["b"], inputs["a"]])
    return keras.Model(inputs, layers.Dense(1)(joined))


def nested():
    return keras.Sequential([keras.Input((INPUTS,)), sequential()])


def beside_a_frozen_layer():
    """The bias that is fitted makes up for its shift, not for the other's."""
    x = keras.Input((INPUTS,))
    frozen = layers.Dense(1, trainable=False, kernel_initializer="zeros")
    return keras.Model(x, layers.Add()([layers.Dense(1)(x), frozen(x)]))


# Models, and the form in which they take the rows.
MODELS = {
    "sequential": (sequential, lambda x: x),
    "two inputs": (of_two_inputs, lambda x: (x[:, :2], x[:, 2:])),
    "named inputs": (of_named_inputs, lambda x: {"b": x[:, :2], "a": x[:, 2:]}),
    "nested": (nested, lambda x: x),
    "subclassed": (Subclassed, lambda x: x),
    "flattened": (
        lambda: sequential(layers.Flatten(), shape=(2, 2)),
        lambda x: x.reshape(-1, 2, 2),
    ),
    "shifted": (lambda: sequential(layers.Rescaling(1.0, 5.0)), lambda x: x),
    "whole numbers": (
        sequential,
        lambda x: np.round(1000.0 * x).astype("int64"),
    ),
}


def compiled(make, x, loss="mse"):
    keras.utils.set_random_seed(0)
    model = make()
    if not model.built:
        model(x[:1].astype("float32"))
    model.compile("sgd", loss)
    return model


def expected(x, y, weights=None):
    weights = np.ones(len(x)) if weights is None else weights
    x = x.reshape(len(x), -1).astype("float64")
    share = weights[:, None] / weights.sum()
    away = y - (share * y).sum(axis=0)
    gradient = (x - x.mean(axis=0)).T @ (weights[:, None] * away)
    return 2.0 * np.abs(gradient).max() / len(x)


@pytest.mark.parametrize("far", few_of([0.0, 1e3, 1e5, 1e7], 1e5))
@pytest.mark.parametrize(
    "name", few_of(MODELS, "sequential", "named inputs", "subclassed")
)
def test_means_of_inputs_do_not_matter(name, far):
    make, form = MODELS[name]
    x, y = X * SPREAD + far, Y + 1e4
    rows = form(x)
    largest = strength_max(compiled(make, rows), (rows, y))
    if name == "whole numbers":
        x = rows
    assert largest == pytest.approx(expected(x, y), rel=1e-3)


@pytest.mark.parametrize("far", few_of([1e5, 1e6, 5e6], 1e6))
def test_neither_do_those_of_targets(far):
    x, y = X + 1e5, Y + far
    largest = strength_max(compiled(sequential, x), (x, y))
    assert largest == pytest.approx(expected(X, Y), rel=1e-2)


class Batches(keras.utils.PyDataset):
    num_batches = 4

    def __getitem__(self, index):
        rows = slice(50 * index, 50 * index + 50)
        return X[rows] + 1e6, Y[rows]


def test_batches_too():
    largest = strength_max(compiled(sequential, X), Batches())
    assert largest == pytest.approx(expected(X, Y), rel=1e-3)


@pytest.mark.thorough
def test_rows_may_have_weights():
    weights = RNG.uniform(0.2, 2.0, ROWS)
    data = (X + 1e6, Y, weights)
    largest = strength_max(compiled(sequential, X), data)
    assert largest == pytest.approx(expected(X, Y, weights), rel=1e-3)


@pytest.mark.thorough
def test_unpenalized_entries_are_fitted():
    factors = np.array([[0.0], [1.0], [1.0], [1.0]])
    free = np.hstack([np.ones((ROWS, 1)), X[:, :1]])
    rest = Y - free @ np.linalg.lstsq(free, Y, rcond=None)[0]
    wanted = 2.0 * np.abs(X[:, 1:].T @ rest).max() / ROWS
    largest = strength_max(
        compiled(sequential, X),
        (X + 1e6, Y),
        lambda s: kreg.L1(s, factors=factors),
    )
    assert largest == pytest.approx(wanted, rel=1e-3)


def test_means_count_where_no_bias_makes_up_for_them():
    x, y = X + 10.0, Y + 1.0
    wanted = 2.0 * np.abs(x.T @ y).max() / ROWS
    model = compiled(lambda: sequential(use_bias=False), x)
    assert strength_max(model, (x, y)) == pytest.approx(wanted, rel=1e-4)


def test_a_frozen_layer_beside_keeps_the_means():
    model = compiled(beside_a_frozen_layer, X)
    largest = strength_max(model, (X + 10.0, Y))
    assert largest == pytest.approx(expected(X, Y), rel=1e-3)


# Data of which single precision leaves nothing.
LOST = {
    "targets": (sequential, X, Y + 1e9),
    "both, in a step of one's own": (OwnStep, X + 1e5, Y + 1e6),
}


@pytest.mark.thorough
@pytest.mark.parametrize("case", LOST)
def test_what_is_not_known_is_refused(case):
    make, x, y = LOST[case]
    with pytest.raises(ValueError, match="`data` are so far from zero"):
        strength_max(compiled(make, x), (x, y))


@pytest.mark.thorough
def test_strengths_of_ones_own_need_not_be_known():
    result = path(
        lambda: compiled(sequential, X),
        (X, Y + 1e9),
        kreg.L1,
        [0.1, 0.2],
        training=Training(2, batch_size=None, tolerance=None),
        verbose=0,
    )
    assert result.strength_max is None
    with pytest.raises(ValueError, match="`data` are so far from zero"):
        path(
            lambda: compiled(sequential, X),
            (X, Y + 1e9),
            kreg.L1,
            StrengthGrid(2),
            training=Training(2, batch_size=None, tolerance=None),
            verbose=0,
        )


@pytest.mark.parametrize("constant", ["inputs", "targets"])
def test_constants_far_from_zero_leave_nothing_to_select(constant):
    x = np.full_like(X, 1e6) if constant == "inputs" else X + 1e6
    y = np.full_like(Y, 1e6) if constant == "targets" else Y
    assert strength_max(compiled(sequential, x), (x, y)) == 0.0
