"""The strength above which everything is zero, against closed forms."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.preprocessing import scale

import kreg
from kreg.selection import Training, path, strength_max

MSE = (load_diabetes, 1, None, "mse")
BINARY = (load_breast_cancer, 1, "sigmoid", "binary_crossentropy")
SEVERAL = (load_wine, 3, "softmax", "sparse_categorical_crossentropy")


def data(load):
    x, y = load(return_X_y=True)
    return scale(x), y


def linear(x, units=1, activation=None, loss="mse"):
    layer = keras.layers.Dense(units, activation)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    return model


def null_gradient(x, y, classes=1, factor=1.0):
    """The gradient of the data loss at the null model."""
    y = np.eye(classes)[y] if classes > 1 else y[:, None]
    return factor * x.T @ (y - y.mean(axis=0)) / len(x)


@pytest.mark.parametrize(
    ("problem", "factor"), [(MSE, 2.0), (BINARY, 1.0), (SEVERAL, 1.0)]
)
def test_lasso(problem, factor):
    load, units, activation, loss = problem
    x, y = data(load)
    gradient = null_gradient(x, y, units, factor)
    found = strength_max(linear(x, units, activation, loss), (x, y))
    assert found == pytest.approx(np.abs(gradient).max(), rel=1e-5)


@pytest.mark.parametrize(
    ("penalty", "share"),
    [
        (lambda s: kreg.L1L2(s / 2, s / 2), 2.0),
        (lambda s: kreg.L1L2(s, 0.7), 1.0),
        (kreg.MCP, 1.0),
    ],
)
def test_the_l1_part_decides(penalty, share):
    x, y = data(load_diabetes)
    expected = share * np.abs(null_gradient(x, y, factor=2.0)).max()
    found = strength_max(linear(x), (x, y), penalty)
    assert found == pytest.approx(expected, rel=1e-4)


def test_group_lasso():
    x, y = data(load_wine)
    model = linear(x, *SEVERAL[1:])
    gradient = null_gradient(x, y, 3)
    for groups, axis in [("units", 0), ("inputs", 1)]:
        norms = np.linalg.norm(gradient, axis=axis)
        found = strength_max(
            model, (x, y), lambda s, g=groups: kreg.GroupLasso(s, g)
        )
        size = gradient.shape[axis]
        assert found == pytest.approx(norms.max() / np.sqrt(size), rel=1e-5)


def test_sample_weights_count():
    x, y = data(load_diabetes)
    weights = np.random.default_rng(0).uniform(0.0, 2.0, len(x))
    mean = np.average(y, weights=weights)
    expected = 2 * np.abs(x.T @ (weights * (y - mean))).max() / len(x)
    found = strength_max(linear(x), (x, y, weights))
    assert found == pytest.approx(expected, rel=1e-5)


def test_unpenalized_entries_do_not_count():
    x, y = data(load_diabetes)
    factors = np.ones((10, 1))
    largest = np.abs(null_gradient(x, y)).argmax()
    factors[largest] = 0.0
    # They are fitted, as the intercept is.
    fitted = np.column_stack([np.ones(len(x)), x[:, largest]])
    residual = y - fitted @ np.linalg.lstsq(fitted, y)[0]
    rest = 2.0 * np.delete(x, largest, axis=1).T @ residual / len(x)
    found = strength_max(
        linear(x), (x, y), lambda s: kreg.L1(s, factors=factors)
    )
    assert found == pytest.approx(np.abs(rest).max(), rel=1e-5)


def test_more_rows_than_fit_into_a_batch():
    x, y = data(load_diabetes)
    model = linear(x)
    once, many = (
        strength_max(model, (np.tile(x, (n, 1)), np.tile(y, n)))
        for n in (1, 10)
    )
    assert many == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize("problem", [MSE, BINARY])
def test_training_finds_zero_above_it_and_not_below(problem):
    load, units, activation, loss = problem
    x, y = data(load)
    largest = strength_max(linear(x, units, activation, loss), (x, y))
    result = path(
        lambda: linear(x, units, activation, loss),
        (x, y),
        kreg.L1,
        [1.001 * largest, 0.99 * largest],
        training=Training(epochs=1000, batch_size=None, tolerance=1e-6),
        verbose=0,
    )
    assert [point.nonzeros > 0 for point in result.points] == [False, True]


def test_model_is_left_as_it_is():
    x, y = data(load_diabetes)
    model = linear(x)
    optimizer, before = model.optimizer, model.get_weights()
    strength_max(model, (x, y))
    assert model.optimizer is optimizer
    assert model.layers[-1].kernel_regularizer is None
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_network_gives_the_smallest_of_its_layers():
    x, y = data(load_diabetes)
    y = scale(y)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((10,)), *layers])
    model.compile("adam", "mse")
    # Signs alike, so that the network is worth more than zero.
    good = x.T @ y[:, None] / 1000
    model.set_weights([good.repeat(4, axis=1), *model.get_weights()[1:]])
    model.layers[-1].kernel.assign(np.full((4, 1), 0.2))
    first, bias, last, shift = model.get_weights()
    hidden = np.tanh(x @ first + bias)
    without_last = -2 * hidden.T @ (y[:, None] - shift) / len(x)
    hidden = np.tanh(np.zeros_like(x @ first) + bias)
    residual = y[:, None] - hidden @ last - shift
    slopes = (residual @ last.T) * (1 - hidden**2)
    without_first = -2 * x.T @ slopes / len(x)
    expected = [np.abs(g).max() for g in (without_first, without_last)]
    assert max(expected) > 1.5 * min(expected)
    found = strength_max(model, (x, y))
    assert found == pytest.approx(min(expected), rel=1e-4)


def of_two_branches(weaker):
    """A trained network whose second branch adds next to nothing."""
    inputs = keras.Input((10,))
    names = ("main", "spare")
    main, spare = (keras.layers.Dense(1, name=n)(inputs) for n in names)
    model = keras.Model(inputs, main + keras.layers.Rescaling(weaker)(spare))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    return model


@pytest.mark.thorough
def test_weights_that_are_not_needed_do_not_count():
    x, y = data(load_diabetes)
    y = scale(y)
    model = of_two_branches(1e-3)
    model.fit(x, y, epochs=20, verbose=0)
    alone, spare = (
        strength_max(model, (x, y), (kreg.L1, name))
        for name in ("main", "spare")
    )
    assert spare < 0.1 * alone
    assert strength_max(model, (x, y)) == pytest.approx(alone)


@pytest.mark.thorough
def test_normalization_does_not_raise_it():
    x, y = data(load_wine)
    model = keras.Sequential(
        [
            keras.Input((13,)),
            keras.layers.Dense(8, use_bias=False, name="first"),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.ReLU(),
            keras.layers.Dense(3, "softmax", name="last"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy"
    )
    keras.utils.set_random_seed(0)
    model.fit(x, y, epochs=20, verbose=0)
    first, last = (
        strength_max(model, (x, y), (kreg.L1, name))
        for name in ("first", "last")
    )
    assert first > 5.0 * last
    assert strength_max(model, (x, y)) == pytest.approx(last)


def test_an_untrained_network_has_one_too():
    x, y = data(load_wine)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "relu"), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((13,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    # A network whose weights do harm: it is worse than without any of them.
    model.layers[-1].kernel.assign(5.0 * model.layers[-1].kernel)
    assert 0.0 < strength_max(model, (x, 2 - y)) < np.inf


def test_penalty_without_zeros_is_refused():
    x, y = data(load_diabetes)
    with pytest.raises(ValueError, match="must make weights zero"):
        strength_max(linear(x), (x, y), kreg.L2)


def test_model_that_is_not_compiled_is_refused():
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must be compiled"):
        strength_max(model, data(load_diabetes))
