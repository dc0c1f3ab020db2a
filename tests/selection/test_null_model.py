"""`strength_max` where entries are unpenalized, against float64 null models.

The peer fits the null model by SciPy on inputs that are centred and scaled.
"""

import sys

import keras
import numpy as np
import pytest
from scipy.optimize import brentq, linprog, minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import QuantileRegressor
from thorough import few_of

import kreg
from kreg.selection import StrengthGrid, Training, path, strength_max

ROWS, INPUTS = 120, 5
# The loss of each row, and its derivative by what the kernel makes.
LOSSES = {
    "mse": (
        lambda z, y: ((z - y) ** 2).mean(axis=1),
        lambda z, y: 2.0 * (z - y) / z.shape[1],
    ),
    "binary_crossentropy": (
        lambda z, y: (np.logaddexp(0.0, z) - y * z)[:, 0],
        lambda z, y: expit(z) - y,
    ),
    "categorical_crossentropy": (
        lambda z, y: -(y * log_softmax(z, axis=1)).sum(axis=1),
        lambda z, y: softmax(z, axis=1) - y,
    ),
    "poisson": (
        lambda z, y: (np.exp(z) - y * z)[:, 0],
        lambda z, y: np.exp(z) - y,
    ),
    "huber": (
        lambda z, y: np.where(
            np.abs(z - y) <= 1.0, (z - y) ** 2 / 2.0, np.abs(z - y) - 0.5
        )[:, 0],
        lambda z, y: np.clip(z - y, -1.0, 1.0),
    ),
}
ACTIVATIONS = {
    "binary_crossentropy": "sigmoid",
    "categorical_crossentropy": "softmax",
    "poisson": "exponential",
}


def single(array):
    """Numbers of single precision, in double precision."""
    return np.asarray(array, "float32").astype("float64")


def rows(loss, outputs, scale=1.0, offset=0.0):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, INPUTS))
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    kernel = np.array(
        [
            [1.5, -1, 0.5],
            [-1, 0.7, 0.3],
            [0.5, 0, -1],
            [0, 0, 0],
            [0.3, -0.4, 0],
        ]
    )
    mean = x @ kernel[:, :outputs] + np.array([0.7, -0.3, 0.2])[:outputs]
    if loss == "binary_crossentropy":
        y = rng.uniform(size=mean.shape) < expit(mean)
    elif loss == "categorical_crossentropy":
        chances = softmax(mean, axis=1)
        y = np.eye(3)[[rng.choice(3, p=row) for row in chances]]
    elif loss == "poisson":
        y = rng.poisson(np.exp(0.5 * mean))
    else:
        y = mean + 0.5 * rng.normal(size=mean.shape)
    return single(x * scale + offset), single(y)


def scaled(x):
    size = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(size > 0.0, size, 1.0)


def null_gradient(x, y, loss, spared, weights):
    """The gradient by the kernel where only spared entries are not zero."""
    value, slope = LOSSES[loss]
    inputs, outputs = scaled(x), y.shape[1]

    def made(free):
        kernel = np.zeros(spared.shape)
        kernel[spared] = free[outputs:]
        return inputs @ kernel + free[:outputs]

    def objective(free):
        z = made(free)
        slopes = slope(z, y) * weights[:, None] / len(y)
        by_kernel = inputs.T @ slopes
        return weights @ value(z, y) / len(y), np.concatenate(
            [slopes.sum(axis=0), by_kernel[spared]]
        )

    free = np.zeros(outputs + spared.sum())
    for _ in range(4):
        free = minimize(
            objective, free, jac=True, method="BFGS", options={"gtol": 1e-12}
        ).x
    slopes = slope(made(free), y) * weights[:, None] / len(y)
    return (x - x.mean(axis=0)).T @ slopes


def factors_of(kind, outputs):
    factors = np.ones((INPUTS, outputs))
    if kind == "an entry":
        factors[0, 0] = 0.0
    elif kind == "two rows":
        factors[:2] = 0.0
    elif kind == "some of many":
        factors = np.linspace(0.2, 3.0, factors.size).reshape(factors.shape)
        factors[1, 0] = factors[2, -1] = 0.0
    return factors


def model_of(loss, outputs, inputs=INPUTS):
    keras.utils.set_random_seed(0)
    activation = ACTIVATIONS.get(loss) if isinstance(loss, str) else None
    layer = keras.layers.Dense(outputs, activation)
    model = keras.Sequential([keras.Input((inputs,)), layer])
    model.compile("sgd", loss, jit_compile=keras.backend.backend() == "jax")
    return model


def found_and_expected(
    loss,
    kind,
    *,
    outputs=1,
    penalty=kreg.L1,
    scale=1.0,
    offset=0.0,
    weighted=False,
):
    x, y = rows(loss, outputs, scale, offset)
    factors = factors_of(kind, outputs)
    weights = np.ones(ROWS)
    data = (x, y)
    if weighted:
        weights = single(np.random.default_rng(1).uniform(0.2, 2.0, ROWS))
        data = (x, y, weights)
    gradient = null_gradient(x, y, loss, factors == 0.0, weights)
    acting = factors > 0.0
    expected = (np.abs(gradient)[acting] / factors[acting]).max()
    found = strength_max(
        model_of(loss, outputs), data, lambda s: penalty(s, factors=factors)
    )
    return found, expected


OF_UNITS = np.array([1e-6, 1.0, 1e3, 1e6, 1e-3])
FAR, MIXED = np.full(INPUTS, 1e6), np.array([1e2, -1e3, 0.0, 1e6, 30.0])
INPUT_UNITS = {
    "far from zero": {"scale": 1e5, "offset": FAR},
    "of many units": {"scale": OF_UNITS},
    "of many units, far from zero": {
        "scale": np.array([1.0, 10.0, 1e3, 1e5, 1.0]),
        "offset": MIXED,
    },
}
OUTPUTS = {"categorical_crossentropy": 3}
KINDS = ("none", "an entry", "two rows", "some of many")


MANY = "some of many"


@pytest.mark.parametrize(
    "case",
    few_of(
        [(loss, kind) for loss in LOSSES for kind in KINDS],
        ("mse", "an entry"),
        ("binary_crossentropy", "two rows"),
        ("categorical_crossentropy", MANY),
        ("poisson", "an entry"),
        ("huber", MANY),
    ),
)
def test_unpenalized_entries_are_fitted(case):
    loss, kind = case
    found, expected = found_and_expected(
        loss, kind, outputs=OUTPUTS.get(loss, 1)
    )
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_with_several_outputs_too(kind):
    found, expected = found_and_expected("mse", kind, outputs=3)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "case",
    few_of(
        [
            (loss, kind, units)
            for units in INPUT_UNITS
            for loss in LOSSES
            for kind in ("none", "an entry", MANY)
        ],
        ("mse", "none", "far from zero"),
        ("binary_crossentropy", "none", "far from zero"),
        ("binary_crossentropy", "an entry", "of many units"),
        ("mse", MANY, "of many units, far from zero"),
        ("poisson", MANY, "far from zero"),
    ),
)
def test_the_units_of_the_inputs_do_not_matter(case):
    loss, kind, units = case
    found, expected = found_and_expected(
        loss, kind, outputs=OUTPUTS.get(loss, 1), **INPUT_UNITS[units]
    )
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "loss", few_of(list(LOSSES), "mse", "categorical_crossentropy")
)
def test_rows_may_have_weights(loss):
    found, expected = found_and_expected(
        loss, "some of many", outputs=OUTPUTS.get(loss, 1), weighted=True
    )
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "penalty",
    [
        kreg.MCP,
        kreg.SCAD,
        lambda s, factors: kreg.L1L2(s, 1e-3, factors=factors),
    ],
    ids=["MCP", "SCAD", "L1L2"],
)
def test_factors_of_other_penalties(penalty):
    found, expected = found_and_expected("mse", "some of many", penalty=penalty)
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_tiny_factor_still_counts():
    x, y = rows("mse", 1)
    factors = np.array([[1e-9], [1.0], [1.0], [1.0], [1.0]])
    gradient = null_gradient(x, y, "mse", factors == 0.0, np.ones(ROWS))
    found = strength_max(
        model_of("mse", 1), (x, y), lambda s: kreg.L1(s, factors=factors)
    )
    assert found == pytest.approx(1e9 * abs(gradient[0, 0]), rel=1e-4)


@pytest.mark.thorough
def test_groups_far_from_zero():
    x, y = rows("mse", 3, scale=1e5, offset=1e6)
    nothing = np.zeros((INPUTS, 3), "bool")
    gradient = null_gradient(x, y, "mse", nothing, np.ones(ROWS))
    model = model_of("mse", 3)
    for groups, axis in [("units", 0), ("inputs", 1)]:
        norms = np.linalg.norm(gradient, axis=axis)
        size = gradient.shape[axis]
        found = strength_max(
            model, (x, y), lambda s, g=groups: kreg.GroupLasso(s, g)
        )
        assert found == pytest.approx(norms.max() / size**0.5, rel=1e-4)

    def left(strength, column):
        inside = np.linalg.norm(np.maximum(np.abs(column) - strength, 0.0))
        return inside - strength * len(column) ** 0.5

    expected = max(
        brentq(left, 0.0, np.abs(column).max(), args=(column,))
        for column in gradient.T
    )
    found = strength_max(model, (x, y), kreg.SparseGroupLasso)
    assert found == pytest.approx(expected, rel=1e-4)


def absolute_null_gradient(x, y, spared):
    """The same under the absolute error: the solution of the dual problem."""
    size = len(y)
    inputs = np.hstack([np.ones((size, 1)), scaled(x)[:, spared[:, 0]]])
    slack = np.eye(size)
    solved = linprog(
        np.repeat([0.0, 1.0 / size], [inputs.shape[1], 2 * size]),
        A_eq=np.hstack([inputs, slack, -slack]),
        b_eq=y[:, 0],
        bounds=[(None, None)] * inputs.shape[1] + [(0.0, None)] * (2 * size),
    )
    return (x - x.mean(axis=0)).T @ solved.eqlin.marginals[:, None]


@pytest.mark.parametrize(
    "case",
    few_of(
        [
            (ROWS, "none", None, 1e-4),
            (ROWS - 1, "none", "far from zero", 1e-4),
            (ROWS, "an entry", None, 1e-4),
            (ROWS - 1, "an entry", None, 1e-4),
            (ROWS, "an entry", "far from zero", 1e-4),
            (ROWS - 1, "an entry", "far from zero", 1e-4),
            (ROWS, "two rows", None, 1e-4),
            (ROWS - 1, "two rows", None, 1e-4),
            (ROWS, "two rows", "far from zero", 1e-4),
            (ROWS - 1, "two rows", "far from zero", 1e-4),
        ],
        (ROWS - 1, "none", "far from zero", 1e-4),
        (ROWS, "an entry", None, 1e-4),
    ),
)
def test_a_loss_with_kinks(case):
    size, kind, units, error = case
    x, y = rows("mse", 1, **INPUT_UNITS.get(units, {}))
    x, y = x[:size], y[:size]
    factors = factors_of(kind, 1)
    gradient = absolute_null_gradient(x, y, factors == 0.0)
    acting = factors > 0.0
    found = strength_max(
        model_of("mae", 1), (x, y), lambda s: kreg.L1(s, factors=factors)
    )
    expected = (np.abs(gradient)[acting] / factors[acting]).max()
    assert found == pytest.approx(expected, rel=error)


ALIKE = {
    "halves": lambda y: np.round(2.0 * y) / 2.0,
    "whole numbers": np.round,
    "counts": lambda y: np.maximum(np.round(y - y.mean()), 0.0),
}


@pytest.mark.parametrize(
    "kind", few_of(["none", "an entry", "two rows"], "an entry")
)
@pytest.mark.parametrize("alike", few_of(ALIKE, "halves"))
def test_a_loss_with_kinks_where_targets_are_alike(alike, kind):
    x, y = rows("mse", 1)
    y = ALIKE[alike](y)
    factors = factors_of(kind, 1)
    found = strength_max(
        model_of("mae", 1), (x, y), lambda s: kreg.L1(s, factors=factors)
    )
    expected = least_strength(x, y, KINKS["mae"], factors)
    assert found == pytest.approx(expected, rel=1e-4)


def pinball(share):
    """The loss of which a quantile is the minimum."""

    def loss(y, z):
        above, below = share * (y - z), (share - 1.0) * (y - z)
        return keras.ops.mean(keras.ops.maximum(above, below), axis=-1)

    return loss


# The derivatives of an entry's loss below and above its kink, and the kink.
KINKS = {
    "mae": lambda y: (-1.0 + 0.0 * y, 1.0 + 0.0 * y, y),
    "hinge": lambda y: (np.minimum(-y, 0.0), np.maximum(-y, 0.0), y),
    **{
        share: lambda y, q=share: (-q + 0.0 * y, 1.0 - q + 0.0 * y, y)
        for share in (0.1, 0.5, 0.9)
    },
}


def least_strength(x, y, kinks, factors, weights=None, directions=None):
    """The smallest strength at which a gradient of each row allows zeros.

    It is found among all subgradients whose sum is that of a null model: those
    at which the dual problem of its fit is largest.

    Args:
        x: the inputs.
        y: the targets.
        kinks: a function of KINKS.
        factors: the factors of the penalty.
        weights: the weights of the rows.
        directions: the norm of a group, an input, is the maximum of the
            products with these; None for a group of each entry.
    """
    (size, outputs), inputs = y.shape, x.shape[1]
    weights = np.ones(size) if weights is None else weights
    low, high, place = kinks(y)
    each = np.eye(outputs)
    deviation = x.std(axis=0)
    fitted = [np.kron(np.ones(size), row) for row in each]
    pulled = []
    for j in range(inputs):
        for k in range(outputs):
            column = np.kron(scaled(x)[:, j], each[k])
            if factors[j, k] == 0.0:
                fitted.append(column)
            elif directions is None:
                pulled.append(deviation[j] / factors[j, k] * column)
        if directions is not None:
            pulled += [
                deviation[j] * np.kron(scaled(x)[:, j], d) for d in directions
            ]
    share = weights[:, None] / outputs
    bounds = list(zip((low * share).flat, (high * share).flat, strict=True))
    fitted, pulled = np.array(fitted), np.array(pulled)
    balanced = np.zeros(len(fitted))
    cost = (place - np.median(place)).ravel()
    fit = linprog(cost, A_eq=fitted, b_eq=balanced, bounds=bounds)
    unit = np.abs(pulled).max()
    column = -np.ones((len(pulled), 1))
    limits = [
        np.hstack([pulled / unit, column]),
        np.hstack([-pulled / unit, column]),
        np.append(cost, 0.0)[None],
    ]
    solved = linprog(
        np.append(np.zeros(cost.size), 1.0),
        A_ub=np.vstack(limits),
        b_ub=np.append(
            np.zeros(2 * len(pulled)), fit.fun + 1e-9 * abs(fit.fun)
        ),
        A_eq=np.hstack([fitted, balanced[:, None]]),
        b_eq=balanced,
        bounds=[*bounds, (0.0, None)],
    )
    return unit * solved.x[-1] / size


def of_classes(share):
    """A function of targets: two classes, the larger targets in one."""
    return lambda y: np.where(y > np.quantile(y, 1.0 - share), 1.0, -1.0)


def binary(y):
    return (y > np.median(y) + 0.3).astype("float64")


ON_KINKS = {
    "hinge, classes alike": ("hinge", of_classes(0.5), {}),
    "hinge, 30 %": ("hinge", of_classes(0.3), {}),
    "hinge, 10 %": ("hinge", of_classes(0.1), {}),
    "hinge, fitted entries": ("hinge", of_classes(0.3), {"kind": MANY}),
    "binary": ("mae", binary, {}),
    "a tenth": (0.1, np.asarray, {}),
    "a tenth, whole": (0.1, np.round, {"kind": "an entry"}),
    "half, whole": (0.5, np.round, {}),
    "nine tenths": (0.9, np.asarray, {"kind": "two rows"}),
    "nine tenths, whole": (0.9, np.round, {"kind": MANY}),
    "many units": (0.1, np.asarray, {"kind": MANY, "scale": OF_UNITS}),
    "many units, whole": ("mae", np.round, {"kind": MANY, "scale": OF_UNITS}),
    "weights": ("mae", np.round, {"weighted": True}),
    "three outputs": ("mae", np.asarray, {"outputs": 3}),
    "three outputs, whole": ("mae", np.round, {"outputs": 3}),
    "outputs and factors": ("mae", np.round, {"outputs": 3, "kind": MANY}),
    "groups": ("mae", np.round, {"outputs": 2, "grouped": True}),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "case", few_of(ON_KINKS, "hinge, 30 %", "a tenth, whole", "groups")
)
def test_many_rows_on_a_kink(case):
    loss, targets, settings = ON_KINKS[case]
    outputs = settings.get("outputs", 1)
    x, y = rows("mse", outputs, settings.get("scale", 1.0))
    y = targets(y)
    factors = factors_of(settings.get("kind", "none"), outputs)
    data, weights, directions = (x, y), None, None
    if settings.get("weighted"):
        weights = single(np.random.default_rng(1).uniform(0.2, 2.0, ROWS))
        data = (x, y, weights)

    def penalty(strength):
        if settings.get("grouped"):
            return kreg.GroupLasso(strength, "inputs")
        return kreg.L1(strength, factors=factors)

    if settings.get("grouped"):
        angles = np.linspace(0.0, np.pi, 400)
        directions = np.array([np.cos(angles), np.sin(angles)]).T / 2**0.5
    model = model_of(
        pinball(loss) if loss in (0.1, 0.5, 0.9) else loss, outputs
    )
    expected = least_strength(x, y, KINKS[loss], factors, weights, directions)
    found = strength_max(model, data, penalty)
    assert found == pytest.approx(expected, rel=2e-4)


def unreduced(y, z):
    return keras.ops.abs(y - z)[:, 0]


def of_one_precision(y, z):
    """A loss that only computes in single precision."""
    return unreduced(y, z) * keras.ops.ones((1,), "float32")


@pytest.mark.parametrize(
    "loss",
    few_of(
        [unreduced, of_one_precision, ["mae"], keras.losses.MeanAbsoluteError],
        unreduced,
    ),
)
def test_the_loss_may_be_any_that_has_a_value_for_each_row(loss):
    x, y = rows("mse", 1)
    y = np.round(y)
    expected = least_strength(x, y, KINKS["mae"], np.ones((INPUTS, 1)))
    model = model_of(loss() if isinstance(loss, type) else loss, 1)
    assert strength_max(model, (x, y)) == pytest.approx(expected, rel=1e-4)


def absolute(reduction):
    return keras.losses.MeanAbsoluteError(reduction=reduction)


SCALED = {
    "a weight of the loss": ("mae", {"loss_weights": 3.0}, False, 3.0),
    "a list of one weight": (["mae"], {"loss_weights": [0.5]}, True, 0.5),
    "a sum": (absolute("sum"), {}, True, ROWS),
    "a sum with a weight": (
        absolute("sum"),
        {"loss_weights": 0.1},
        False,
        0.1 * ROWS,
    ),
    "a mean by weights": (absolute("mean_with_sample_weight"), {}, True, None),
}


@pytest.mark.parametrize("name", few_of(SCALED, "a sum with a weight"))
def test_the_loss_may_be_scaled(name):
    loss, settings, is_weighted, scale = SCALED[name]
    x, y = rows("mse", 1)
    y = np.round(y)
    weights = None
    if is_weighted:
        weights = single(np.random.default_rng(1).uniform(0.2, 2.0, ROWS))
    if scale is None:
        scale = 1.0 / weights.mean()
    model = model_of("mae", 1)
    model.compile("sgd", loss, **settings)
    found = strength_max(model, (x, y) if weights is None else (x, y, weights))
    factors = np.ones((INPUTS, 1))
    expected = least_strength(x, y, KINKS["mae"], factors, weights)
    assert found == pytest.approx(scale * expected, rel=2e-4)


@pytest.mark.thorough
def test_without_scipy_it_may_be_too_high(monkeypatch):
    x, y = rows("mse", 1)
    y = np.round(y)
    exact = strength_max(model_of("mae", 1), (x, y))
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert strength_max(model_of("mae", 1), (x, y)) > 0.999 * exact


def kernel_of_svm(x, y, strength):
    """The kernel of a support vector machine under L1, from its linear program.

    The unknowns are the losses of rows, both signs of the kernel, and the bias.
    """
    size, inputs = x.shape
    cost = np.repeat([1.0 / size, strength, 0.0], [size, 2 * inputs, 1])
    solved = linprog(
        cost,
        A_ub=-np.hstack([np.eye(size), y * x, -y * x, y]),
        b_ub=-np.ones(size),
        bounds=[(0.0, None)] * (size + 2 * inputs) + [(None, None)],
    ).x[size:-1]
    return solved[:inputs] - solved[inputs:]


def kernel_of_quantiles(x, y, strength):
    estimator = QuantileRegressor(quantile=0.9, alpha=strength)
    return estimator.fit(x, y[:, 0]).coef_


PEERS = {
    "support vector machine": ("hinge", of_classes(0.3), kernel_of_svm),
    "quantile regression": (pinball(0.9), np.round, kernel_of_quantiles),
}


@pytest.mark.parametrize("peer", PEERS)
def test_the_solution_is_zero_at_it_and_not_below(peer):
    loss, targets, kernel_of = PEERS[peer]
    x, y = rows("mse", 1)
    y = targets(y)
    found = strength_max(model_of(loss, 1), (x, y))
    above, below = (kernel_of(x, y, found * f) for f in (1.001, 0.999))
    assert np.abs(above).max() < 1e-9
    assert np.abs(below).max() > 1e-6


X = rows("mse", 1)[0]
NOTHING = {
    "y = 0": ("mse", X, np.zeros((ROWS, 1))),
    "y = 7": ("mse", X, np.full((ROWS, 1), 7.0)),
    "y = -0.5": ("huber", X, np.full((ROWS, 1), -0.5)),
    "whole numbers": ("mse", X, np.full((ROWS, 1), 3)),
    "absolute error": ("mae", X + 10.0, np.full((ROWS, 1), 0.3)),
    "a fifth is one": ("mae", X, single(np.arange(ROWS) % 5 == 0)[:, None]),
    "counts": ("poisson", X + 10.0, np.full((ROWS, 1), 7.0)),
    "one class": ("binary_crossentropy", X, np.ones((ROWS, 1))),
    "one of three": (
        "categorical_crossentropy",
        X,
        np.eye(3)[np.zeros(ROWS, "int64")],
    ),
    "x = 0": ("mse", 0.0 * X, rows("mse", 1)[1]),
    "a single row": ("mse", X[:1], np.full((1, 1), 3.3)),
}


@pytest.mark.parametrize(
    "case",
    few_of(list(NOTHING), "y = 0", "y = 7", "counts", "one class", "x = 0"),
)
def test_nothing_to_select_is_zero(case):
    loss, x, y = NOTHING[case]
    assert strength_max(model_of(loss, y.shape[1]), (x, y)) == 0.0


@pytest.mark.parametrize("penalty", [kreg.L1, kreg.L2])
def test_no_grid_where_there_is_nothing_to_select(penalty):
    with pytest.raises(ValueError, match="`data` leave nothing to select"):
        path(
            lambda: model_of("mse", 1),
            (X, np.full((ROWS, 1), 7.0)),
            penalty,
            training=Training(1, tolerance=None),
            verbose=0,
        )


def test_strengths_of_ones_own_need_nothing_to_select():
    result = path(
        lambda: model_of("mse", 1),
        (X, np.full((ROWS, 1), 7.0)),
        kreg.L1,
        [0.1],
        training=Training(300, batch_size=None, tolerance=None),
        verbose=0,
    )
    assert result.points[0].nonzeros == 0


def test_factors_that_are_all_zero_are_named():
    none = np.zeros((INPUTS, 1))
    with pytest.raises(ValueError, match="`factors` are all 0"):
        strength_max(
            model_of("mse", 1),
            rows("mse", 1),
            lambda s: kreg.L1(s, factors=none),
        )


def test_a_path_begins_where_all_that_is_penalized_is_zero():
    x, y = rows("mse", 1)
    factors = factors_of("an entry", 1)

    def build_model():
        model = model_of("mse", 1)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
        return model

    result = path(
        build_model,
        (x, y),
        lambda s: kreg.L1(s, factors=factors),
        StrengthGrid(2, ratio=0.9),
        training=Training(400, batch_size=None, tolerance=1e-6),
        verbose=0,
    )
    first, second = (weights[0][1:] for weights in result.weights)
    assert not first.any()
    assert second.any()


def test_the_grid_of_l2_leaves_unpenalized_entries_alone():
    x, y = rows("mse", 1)
    factors = np.array([[0.0], [1.0], [1.0], [1.0], [1.0]])

    def build_model():
        model = model_of("mse", 1)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
        return model

    def ridge(strength):
        """The coefficients of the penalized inputs."""
        inputs = np.hstack([np.ones((ROWS, 1)), x])
        pull = np.diag([0.0, 0.0, *[strength * ROWS] * 4])
        return np.linalg.solve(inputs.T @ inputs + pull, inputs.T @ y)[2:]

    result = path(
        build_model,
        (x, y),
        lambda s: kreg.L2(s, factors=factors),
        StrengthGrid(1),
        training=Training(2000, batch_size=None, tolerance=1e-6),
        verbose=0,
    )
    strength = result.points[0].strength
    left = np.linalg.norm(ridge(strength)) / np.linalg.norm(ridge(0.0))
    assert 0.05 < left < 0.2
    np.testing.assert_allclose(
        result.weights[0][0][1:], ridge(strength), atol=1e-4
    )


NARROW = {
    "huber": (keras.losses.Huber, lambda r: np.clip(r, -1.0, 1.0)),
    "log_cosh": (keras.losses.LogCosh, np.tanh),
}


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="losses in single precision do not show such a bend",
)
@pytest.mark.parametrize("name", few_of(NARROW, "huber"))
def test_a_bend_that_is_narrow_beside_the_targets_is_no_kink(name):
    loss, derivative = NARROW[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype("float32")
    y = 1e4 + rng.integers(-3000, 3000, 120) * (rng.random(120) > 0.6)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", loss())
    bias = brentq(lambda b: derivative(b - y).sum(), 0.0, 2e4, xtol=1e-12)
    expected = np.abs(x.T @ derivative(bias - y) / len(y)).max()
    found = kreg.strength_max(model, (x, y.astype("float32")))
    assert found == pytest.approx(expected, rel=1e-3)
