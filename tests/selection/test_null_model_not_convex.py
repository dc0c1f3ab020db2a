"""`strength_max` of losses that are not convex in what is fitted.

The peer fits the null model by SciPy in double precision, from several starts.
"""

import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from thorough import few_of

import kreg
from kreg.selection import Training, path, strength_max
from kreg.selection.strengths.minimum import slope_at_minimum
from kreg.selection.strengths.slopes import Slope

ROWS, INPUTS = 150, 5


def of_softmax(z, slopes):
    p = softmax(z, axis=1)
    return p * (slopes - (p * slopes).sum(axis=1, keepdims=True))


# What each activation makes, and the derivatives of a loss before it, from
# those behind it.
ACTIVATIONS = {
    "sigmoid": (expit, lambda z, s: s * expit(z) * expit(-z)),
    "tanh": (np.tanh, lambda z, s: s / np.cosh(z) ** 2),
    "softplus": (lambda z: np.logaddexp(0.0, z), lambda z, s: s * expit(z)),
    "exponential": (np.exp, lambda z, s: s * np.exp(z)),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z, s: s * (z > 0.0)),
    "softmax": (lambda z: softmax(z, axis=1), of_softmax),
}


def of_focus(p, y):
    away = np.maximum(1.0 - p, 1e-12)
    p = np.maximum(p, 1e-12)
    slopes = y * (2.0 * away * np.log(p) - away**2 / p)
    return -0.25 * (y * away**2 * np.log(p)).sum(axis=1), 0.25 * slopes


def of_binary_focus(p, y):
    right = np.clip(y * p + (1.0 - y) * (1.0 - p), 1e-12, 1.0)
    wrong = 1.0 - right
    slopes = 2.0 * wrong * np.log(right) - wrong**2 / right
    slopes = slopes * (2.0 * y - 1.0) / p.shape[1]
    return -(wrong**2 * np.log(right)).mean(axis=1), slopes


def of_logarithms(p, y):
    gap = np.log1p(p) - np.log1p(y)
    return (gap**2).mean(axis=1), 2.0 * gap / (1.0 + p) / p.shape[1]


# The loss of each row, and its derivatives by the predictions.
LOSSES = {
    "mse": lambda p, y: (
        ((p - y) ** 2).mean(axis=1),
        2.0 * (p - y) / p.shape[1],
    ),
    "log_cosh": lambda p, y: (
        (np.logaddexp(p - y, y - p) - np.log(2.0)).mean(axis=1),
        np.tanh(p - y) / p.shape[1],
    ),
    "poisson": lambda p, y: (
        (p - y * np.log(p + 1e-7)).mean(axis=1),
        (1.0 - y / (p + 1e-7)) / p.shape[1],
    ),
    "mean_squared_logarithmic_error": of_logarithms,
    "categorical_focal_crossentropy": of_focus,
    "binary_focal_crossentropy": of_binary_focus,
}


def targets_of(kind, x, shift):
    rng = np.random.default_rng(1)
    z = x @ np.array([[1, -1, 0.5], [0.4, 0, 0], [0, 0, 1]] + [[0] * 3] * 2)
    z[:, 0] += shift
    if kind == "classes":
        return np.eye(3)[(z + rng.gumbel(size=z.shape)).argmax(axis=1)]
    if kind == "labels":
        return 1.0 * (z > rng.logistic(size=z.shape))
    if kind == "signs":
        return np.where(z > rng.logistic(size=z.shape), 1.0, -1.0)
    return 1.0 * rng.poisson(np.exp(0.4 * z - 0.2))


def peer(loss, activation, x, y, weights, fitted):
    """The gradient by the kernel where its first rows alone are fitted."""
    outputs = y.shape[1]
    centred = x - x.mean(axis=0)

    def at(free):
        kernel = free[outputs:].reshape(fitted, outputs)
        z = centred[:, :fitted] @ kernel + free[:outputs]
        make, back = ACTIVATIONS[activation]
        value, slopes = LOSSES[loss](make(z), y)
        slopes = back(z, slopes) * weights[:, None] / len(y)
        return weights @ value / len(y), slopes

    def objective(free):
        value, slopes = at(free)
        by_kernel = centred[:, :fitted].T @ slopes
        return value, np.append(slopes.sum(axis=0), by_kernel)

    size, mean = outputs * (1 + fitted), y.mean() + 1e-3
    found = []
    for begin in (0.0, 0.5, 1.0, -1.0, min(mean, 100.0), np.log(mean)):
        free = np.zeros(size)
        free[:outputs] = begin + 0.01 * np.arange(outputs)
        for _ in range(3):
            fit = minimize(objective, free, jac=True, options={"gtol": 1e-11})
            free = fit.x
        found.append(fit)
    best = min(found, key=lambda fit: fit.fun)
    return centred[:, fitted:].T @ at(best.x)[1]


def model_of(loss, activation, outputs):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(outputs, activation)
    model = keras.Sequential([keras.Input((INPUTS,)), layer])
    model.compile("sgd", loss, jit_compile=keras.backend.backend() == "jax")
    return model


def found_and_expected(
    loss, activation, kind, *, shift=0.4, scale=1.0, **settings
):
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=(ROWS, INPUTS)), "float32")
    y = scale * targets_of(kind, x.astype("float64"), shift)
    x += np.float32(settings.get("offset", 0.0))
    y = np.asarray(y[:, : settings.get("outputs", 3)], "float32")
    weights = np.ones(ROWS, "float32")
    data = (x, y)
    if settings.get("weighted"):
        of_class = np.array([3.0, 0.5, 1.0], "float32")
        weights = of_class[y.argmax(axis=1)] * (0.5 + np.arange(ROWS) / ROWS)
        weights = weights.astype("float32")
        data = (x, y, weights)
    fitted = settings.get("fitted", 0)
    factors = np.ones((INPUTS, y.shape[1]))
    factors[:fitted] = 0.0
    double = [array.astype("float64") for array in (x, y, weights)]
    expected = np.abs(peer(loss, activation, *double, fitted)).max()
    model = model_of(loss, activation, y.shape[1])
    if "bias" in settings:
        model.layers[-1].bias.assign(settings["bias"])
    found = strength_max(model, data, lambda s: kreg.L1(s, factors=factors))
    return found, expected


FOCUS, BINARY_FOCUS = (
    "categorical_focal_crossentropy",
    ("binary_focal_crossentropy"),
)
LOGARITHMS = "mean_squared_logarithmic_error"
CASES = {
    "focus": (FOCUS, "softmax", "classes", {}),
    "focus, a rare class": (FOCUS, "softmax", "classes", {"shift": 3.0}),
    "focus, weights": (FOCUS, "softmax", "classes", {"weighted": True}),
    "focus, fitted": (FOCUS, "softmax", "classes", {"fitted": 1}),
    "focus, far": (FOCUS, "softmax", "classes", {"offset": 1e3}),
    "focus, begun elsewhere": (
        *(FOCUS, "softmax", "classes"),
        {"bias": [-2.0, 2.0, 1.0]},
    ),
    "mse of classes": ("mse", "softmax", "classes", {}),
    "mse, a rare class": ("mse", "softmax", "classes", {"shift": 2.5}),
    "mse of classes, weights": (
        *("mse", "softmax", "classes"),
        {"shift": -2.0, "weighted": True},
    ),
    "mse of classes, fitted": ("mse", "softmax", "classes", {"fitted": 1}),
    "mse of labels": ("mse", "sigmoid", "labels", {"shift": -3.0}),
    "mse of labels, begun elsewhere": (
        *("mse", "sigmoid", "labels"),
        {"shift": -3.0, "bias": [4.0, -3.0, 2.0]},
    ),
    "mse of signs": ("mse", "tanh", "signs", {"shift": 2.0}),
    "log-cosh of labels": ("log_cosh", "sigmoid", "labels", {"shift": 3.0}),
    "focus on labels": (BINARY_FOCUS, "sigmoid", "labels", {"shift": 3.0}),
    "focus on labels, weights": (
        *(BINARY_FOCUS, "sigmoid", "labels"),
        {"weighted": True, "offset": 100.0},
    ),
    "softplus of hundreds": ("mse", "softplus", "counts", {"scale": 100.0}),
    "softplus of hundreds, one output": (
        *("mse", "softplus", "counts"),
        {"scale": 100.0, "outputs": 1},
    ),
    "exponential of hundreds": (
        *("mse", "exponential", "counts"),
        {"scale": 100.0, "outputs": 1},
    ),
    "exponential of hundredths": (
        *("mse", "exponential", "counts"),
        {"scale": 0.01},
    ),
    "exponential, fitted": (
        *("mse", "exponential", "counts"),
        {"fitted": 1, "weighted": True},
    ),
    "relu": ("mse", "relu", "counts", {}),
    "relu of hundreds": ("mse", "relu", "counts", {"scale": 100.0}),
    "relu of hundredths": ("mse", "relu", "counts", {"scale": 0.01}),
    "relu, far": ("mse", "relu", "counts", {"offset": -1e3}),
    "relu, begun below": ("mse", "relu", "counts", {"bias": [-3.0, 1.0, 0.0]}),
    "poisson, relu": ("poisson", "relu", "counts", {}),
    "poisson, softplus": ("poisson", "softplus", "counts", {"scale": 100.0}),
    "logarithms, softplus": (LOGARITHMS, "softplus", "counts", {"scale": 1e3}),
    "logarithms, relu": (LOGARITHMS, "relu", "counts", {}),
    "logarithms, exponential": (
        *(LOGARITHMS, "exponential", "counts"),
        {"scale": 1e3, "weighted": True},
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "case",
    few_of(
        CASES,
        "focus",
        "mse, a rare class",
        "softplus of hundreds, one output",
        "poisson, relu",
    ),
)
def test_what_is_not_penalized_is_fitted(case):
    loss, activation, kind, settings = CASES[case]
    found, expected = found_and_expected(loss, activation, kind, **settings)
    assert found == pytest.approx(expected, rel=2e-3)


@pytest.mark.thorough
def test_training_finds_zero_above_it_and_not_below():
    x = np.random.default_rng(0).normal(size=(ROWS, INPUTS)).astype("float32")
    y = targets_of("classes", x, 1.5).astype("float32")

    def build_model():
        model = model_of("mse", "softmax", 3)
        model.compile(keras.optimizers.SGD(1.0, momentum=0.9), "mse")
        return model

    largest = strength_max(build_model(), (x, y))
    result = path(
        build_model,
        (x, y),
        kreg.L1,
        [1.001 * largest, 0.98 * largest],
        training=Training(epochs=1000, batch_size=None, tolerance=1e-6),
        verbose=0,
    )
    assert [point.nonzeros > 0 for point in result.points] == [False, True]


def slope_of(value, slope):
    """A function of one free variable, and a fixed one with its slope."""

    def slope_at(place):
        free = np.array([slope(place[0])])
        return Slope(place, free, free + 1.0, float(value(place[0])))

    return slope_at


@pytest.mark.parametrize("start", [-30.0, -2.0, 0.1, 1.0, 30.0])
def test_no_step_ends_on_a_plateau(start):
    minimum = slope_at_minimum(
        slope_of(
            lambda b: (expit(b) - 0.02) ** 2,
            lambda b: 2.0 * (expit(b) - 0.02) * expit(b) * expit(-b),
        ),
        np.array([start]),
    )
    assert expit(minimum.place[0]) == pytest.approx(0.02, rel=1e-3)


def test_a_search_that_finds_no_minimum_says_so():
    falling = slope_of(lambda b: -b, lambda b: -1.0)
    assert np.isnan(slope_at_minimum(falling, np.zeros(1)).fixed).all()


def unbounded(y, z):
    return keras.ops.mean(z, axis=-1)


@pytest.mark.parametrize("penalty", [kreg.L1, kreg.L2])
def test_no_grid_of_a_loss_without_a_minimum(penalty):
    x = np.random.default_rng(0).normal(size=(ROWS, INPUTS)).astype("float32")
    y = x[:, :1]
    with pytest.raises(ValueError, match="no minimum of the loss"):
        path(
            lambda: model_of(unbounded, None, 1),
            (x, y),
            penalty,
            training=Training(1, tolerance=None),
            verbose=0,
        )


def test_a_loss_without_a_minimum_has_no_largest_strength():
    x = np.random.default_rng(0).normal(size=(ROWS, INPUTS)).astype("float32")
    with pytest.raises(ValueError, match="no minimum of the loss"):
        strength_max(model_of(unbounded, None, 1), (x, x[:, :1]))
