"""Clipping makes batches count by what it leaves of their gradients.

With parts of the data b that are clipped to fractions `c_b`, weights at rest
solve `sum(c_b * (gradient_b + gradient of the penalty)) = 0`. NumPy computes
the residual of this condition in float64; where there is one part alone, its
solution is scikit-learn's lasso.
"""

import keras
import numpy as np
import pytest
from full_batch import fit_steps
from keras import optimizers
from optimizers.two_members import of_two_members
from sklearn.linear_model import Lasso
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
STEPS = 4000
AT_ONCE = 10 if BACKEND != "torch" else 1
STRENGTH = 0.4


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 8))
    beta = np.array([1.0, -1, 0.6, 0, 0, 0, -0.5, 0.05])
    y = x @ beta + 0.3 * rng.normal(size=160)
    return x.astype("float32"), y.astype("float32")


def decaying(rate):
    """Constant, then falling, then constant: training comes to rest there."""
    fade = kreg.schedules.GeometricRamp(rate, rate / 10, steps=STEPS // 4)
    return kreg.schedules.Join([rate, fade], boundaries=[STEPS // 2])


CLIPPING = {
    "clipnorm": {"clipnorm": 0.3},
    "global_clipnorm": {"global_clipnorm": 0.3},
    "clipvalue": {"clipvalue": 0.15},
}
OPTIMIZERS = {
    "SGD": lambda clip, rate=0.1: optimizers.SGD(rate, **clip),
    "SGD_momentum": lambda clip, rate=0.01: optimizers.SGD(
        rate, momentum=0.9, **clip
    ),
    "Adam": lambda clip, rate=None: optimizers.Adam(
        rate or decaying(0.01), **clip
    ),
    "RMSprop": lambda clip, rate=None: optimizers.RMSprop(
        rate or decaying(0.01), momentum=0.5, epsilon=1e-2, **clip
    ),
}


def linear_model(optimizer):
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer="zeros",
        kernel_regularizer=kreg.L1(STRENGTH),
    )
    model = keras.Sequential([keras.Input((8,)), layer])
    kreg.bind(model)
    model.compile(optimizer, "mse", steps_per_execution=AT_ONCE)
    return model


def train(model, x, y, parts=1, steps=STEPS):
    """One update for each part of the rows in turn."""
    fit_steps(model, x, y, steps, parts)
    return np.concatenate(model.get_weights()).ravel().astype("float64")


def fraction(gradient, clip):
    if "clipvalue" in clip:
        return np.minimum(1.0, clip["clipvalue"] / np.abs(gradient))
    (limit,) = clip.values()
    return np.minimum(1.0, limit / np.linalg.norm(gradient))


def residuals(w, clip, parts, devices=1):
    """How far the weighted gradients are from the penalty's, by its strength.

    Each device clips the gradient of its part of the loss.
    """
    x, y = (a.astype("float64") for a in data())
    total = weight = 0.0
    for rows in np.array_split(np.arange(len(x)), parts * devices):
        gradient = 2 * x[rows].T @ (x[rows] @ w - y[rows]) / len(rows)
        kept = fraction(gradient / devices, clip)
        total, weight = total + kept * gradient, weight + kept
    mean = total / weight / STRENGTH
    return np.where(
        w == 0.0,
        np.maximum(np.abs(mean) - 1.0, 0.0),
        np.abs(mean + np.sign(w)),
    )


def lasso():
    estimator = Lasso(STRENGTH / 2, fit_intercept=False, tol=1e-12)
    return estimator.fit(*(a.astype("float64") for a in data())).coef_


def assert_is_lasso(w):
    np.testing.assert_array_equal(w == 0.0, lasso() == 0.0)
    np.testing.assert_allclose(w, lasso(), atol=2e-4)


FEW = ["SGD_momentum", "Adam"]


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "clipnorm", "clipvalue"))
@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "SGD_momentum"))
def test_mini_batches_count_by_what_is_left_of_them(name, clipping):
    clip = CLIPPING[clipping]
    rate = decaying(0.1 if name == "SGD" else 0.01)
    inner = OPTIMIZERS[name](clip, rate)
    model = linear_model(kreg.ProximalOptimizer(inner))
    w = train(model, *data(), parts=5)
    assert (w == 0.0).any()
    assert residuals(w, clip, 5).max() < 1e-2


@pytest.mark.parametrize("clipping", few_of(CLIPPING, "global_clipnorm"))
@pytest.mark.parametrize("name", few_of(FEW, "SGD_momentum"))
def test_zeros_do_not_come_and_go_with_the_clipping_of_a_batch(name, clipping):
    """Momentum averages gradients, and the proximal step their fractions."""
    settings = {
        "SGD_momentum": lambda: optimizers.SGD(
            0.005, momentum=0.9, **CLIPPING[clipping]
        ),
        "Adam": lambda: optimizers.Adam(0.005, **CLIPPING[clipping]),
    }
    model = linear_model(kreg.ProximalOptimizer(settings[name]()))
    x, y = data()
    train(model, x, y, parts=10, steps=1000)
    supports = {
        tuple(np.flatnonzero(train(model, x, y, parts=10, steps=10)))
        for _ in range(20)
    }
    assert supports == {tuple(np.flatnonzero(lasso()))}


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "clipnorm"))
@pytest.mark.parametrize("name", few_of(FEW, "SGD_momentum"))
def test_under_loss_scaling(name, clipping):
    """Gradients are clipped after they are unscaled."""
    scaled = optimizers.LossScaleOptimizer(
        kreg.ProximalOptimizer(OPTIMIZERS[name](CLIPPING[clipping])),
        initial_scale=1024.0,
    )
    assert_is_lasso(train(linear_model(scaled), *data()))


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "clipnorm"))
def test_under_a_scale_of_its_own(clipping):
    inner = OPTIMIZERS["SGD_momentum"](CLIPPING[clipping])
    inner.loss_scale_factor = 64.0
    model = linear_model(kreg.ProximalOptimizer(inner))
    assert_is_lasso(train(model, *data()))


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "clipvalue"))
@pytest.mark.parametrize("name", few_of(FEW, "SGD_momentum"))
def test_accumulated_gradients_are_clipped_together(name, clipping):
    """Four batches make an update; all rows make four batches."""
    inner = OPTIMIZERS[name](
        {**CLIPPING[clipping], "gradient_accumulation_steps": 4}
    )
    model = linear_model(kreg.ProximalOptimizer(inner))
    assert_is_lasso(train(model, *data(), parts=4))


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "global_clipnorm"))
@pytest.mark.parametrize("name", few_of(FEW, "Adam"))
def test_clipped_member_of_several_optimizers(name, clipping):
    """The norm that a member clips is that of its own gradients."""
    x, y = data()
    members = optimizers.OptimizerMap(
        optimizers.SGD(0.05),
        {"clipped/.*": OPTIMIZERS[name](CLIPPING[clipping])},
    )
    model = of_two_members(
        ("clipped", "free"), members, STRENGTH, steps_per_execution=AT_ONCE
    )
    assert_is_lasso(train(model, (x[:, :4], x[:, 4:]), y))


@pytest.mark.thorough
@pytest.mark.tensorflow
@pytest.mark.parametrize("clipping", few_of(CLIPPING, "clipvalue"))
@pytest.mark.parametrize("name", few_of(FEW, "SGD_momentum"))
def test_each_device_clips_its_part_of_a_batch(
    name, clipping, mirrored_strategy
):
    clip = CLIPPING[clipping]
    with mirrored_strategy.scope():
        model = linear_model(kreg.ProximalOptimizer(OPTIMIZERS[name](clip)))
    w = train(model, *data(), steps=1500)
    assert residuals(w, clip, 1, devices=2).max() < 2e-2


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", CLIPPING)
def test_rows_that_a_batch_repeats(clipping):
    """Gradients of embeddings are sparse on TensorFlow."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 6, size=(200, 1))
    y = np.array([1.0, -1, 0.5, 0.02, 0.0, 0.0])[rows]
    embedding = keras.layers.Embedding(
        6,
        1,
        embeddings_regularizer=kreg.L1(0.05),
        embeddings_initializer="zeros",
    )
    model = keras.Sequential(
        [keras.Input((1,), dtype="int32"), embedding, keras.layers.Flatten()]
    )
    kreg.bind(model)
    inner = optimizers.SGD(0.1, momentum=0.9, **CLIPPING[clipping])
    model.compile(
        kreg.ProximalOptimizer(inner), "mse", steps_per_execution=AT_ONCE
    )
    fit_steps(model, rows, y, 600)
    share = np.bincount(rows.ravel()) / 200
    means = np.array([y[rows == i].mean() for i in range(6)])
    expected = np.sign(means) * np.maximum(np.abs(means) - 0.025 / share, 0.0)
    ours = embedding.get_weights()[0].ravel()
    np.testing.assert_array_equal(ours == 0.0, expected == 0.0)
    np.testing.assert_allclose(ours, expected, atol=1e-4)


ADAPTIVE = {
    "Adam": lambda: optimizers.Adam(0.002),
    "clipped": lambda: optimizers.Adam(0.002, clipnorm=0.1),
    "Nadam": lambda: optimizers.Nadam(0.002),
    "Adamax": lambda: optimizers.Adamax(0.002),
    "RMSprop": lambda: optimizers.RMSprop(0.002),
    "Adagrad": lambda: optimizers.Adagrad(0.05),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", few_of(ADAPTIVE, "Adam"))
def test_rows_that_a_batch_repeats_under_adaptive_optimizers(name):
    """Keras's second moments are of the single rows of a sparse gradient.

    An update is then several learning rates long, here up to `sqrt(20)`.
    """
    rows = np.repeat(np.arange(5), 20)[:, None]
    means = np.array([1.0, -0.5, 0.1, 0.6, 0.0])
    embedding = keras.layers.Embedding(
        5, 1, embeddings_regularizer=kreg.L1(0.04)
    )
    model = keras.Sequential(
        [keras.Input((1,), dtype="int32"), embedding, keras.layers.Flatten()]
    )
    kreg.bind(model)
    model.compile(
        kreg.ProximalOptimizer(ADAPTIVE[name]()),
        "mse",
        steps_per_execution=AT_ONCE,
    )
    fit_steps(model, rows, means[rows], STEPS)
    expected = np.sign(means) * np.maximum(np.abs(means) - 0.1, 0.0)
    ours = embedding.get_weights()[0].ravel()
    np.testing.assert_allclose(ours, expected, atol=2e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("first", few_of(CLIPPING, "clipnorm"))
@pytest.mark.parametrize("then", few_of(CLIPPING, "clipvalue"))
def test_clipping_may_change_between_fits(first, then):
    x, y = data()
    optimizer = kreg.ProximalOptimizer(
        optimizers.SGD(0.01, momentum=0.9, **CLIPPING[first])
    )
    model = linear_model(optimizer)
    train(model, x, y, steps=10)
    for name, value in {**dict.fromkeys(CLIPPING), **CLIPPING[then]}.items():
        setattr(optimizer, name, value)
    model.compile(optimizer, "mse", steps_per_execution=AT_ONCE)
    assert_is_lasso(train(model, x, y))


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", CLIPPING)
def test_interrupted_training_is_the_unbroken_one(clipping, tmp_path):
    """The averages of fractions are saved with the optimizer."""
    x, y = data()
    model = linear_model(
        kreg.ProximalOptimizer(
            optimizers.SGD(0.01, momentum=0.9, **CLIPPING[clipping])
        )
    )
    train(model, x, y, parts=5, steps=20)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    kreg.bind(loaded)
    both = [train(m, x, y, parts=5, steps=20) for m in (model, loaded)]
    np.testing.assert_array_equal(*both)
