"""The compiled pass over the weights, and what it tells of training."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from thorough import few_of

import kreg

RNG = np.random.default_rng(0)


def repeated(model, **settings):
    """A reading by the compiled pass: the first one is not."""
    kreg.statistics.read(model, **settings)
    return kreg.statistics.read(model, **settings)


def with_weights(model, sparsity=0.5):
    model.set_weights(
        [
            RNG.normal(size=w.shape) * (RNG.uniform(size=w.shape) > sparsity)
            for w in model.get_weights()
        ]
    )
    return model


def network():
    """Weights of less than a block, of many, and of a block and a rest."""
    return with_weights(
        keras.Sequential(
            [
                keras.Input((10, 10, 3)),
                layers.Conv2D(30, 3, name="small"),
                layers.Flatten(),
                layers.Dense(100, kernel_regularizer=kreg.L1(0.5), name="big"),
                layers.Reshape((10, 10)),
                layers.LSTM(
                    7,
                    kernel_regularizer=kreg.GroupLasso(0.1),
                    recurrent_regularizer=keras.regularizers.L1L2(0.1, 0.2),
                ),
                layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.3)),
            ]
        )
    )


def values(model):
    return {
        v.path: np.asarray(keras.ops.convert_to_numpy(v), "float64")
        for v in model.trainable_weights
    }


def test_figures_are_those_of_numpy():
    model = network()
    known = values(model)
    reading = repeated(model, threshold=0.25)
    assert {w.path for w in reading.weights} == set(known)
    for weight in reading.weights:
        w = known[weight.path]
        assert weight.l1_norm == pytest.approx(np.abs(w).sum(), rel=1e-5)
        assert weight.l2_norm == pytest.approx(np.linalg.norm(w), rel=1e-5)
        assert weight.max_norm == pytest.approx(np.abs(w).max(), rel=1e-6)
        assert weight.rms == pytest.approx(np.sqrt(np.mean(w**2)), rel=1e-5)
        assert weight.sparsity == np.mean(w == 0.0)
        assert weight.near_zero == np.mean(np.abs(w) <= 0.25)


def test_compiled_reading_is_the_first_one():
    model = network()
    kernel = model.layers[0].kernel
    w = keras.ops.convert_to_numpy(kernel).copy()
    w[..., :4] = 0.0
    w[:, :, 1] = 0.0
    kernel.assign(w)
    first = kreg.statistics.read(model)
    second = kreg.statistics.read(model)
    assert first.dead_units >= 4
    for a, b in zip(first.weights, second.weights, strict=True):
        counts = ("zeros", "near_zeros", "dead_units", "dead_inputs")
        assert [getattr(a, n) for n in counts] == [
            getattr(b, n) for n in counts
        ]
        assert b.l2_norm == pytest.approx(a.l2_norm, rel=1e-5)
        assert b.penalty == pytest.approx(a.penalty, rel=1e-5)
    assert first.dead_units == second.dead_units


@pytest.mark.thorough
def test_penalties_are_those_of_the_regularizers():
    model = network()
    found = {w.path: w.penalty for w in repeated(model).weights}
    for path, penalty in kreg.penalties(model).items():
        assert found[path] == pytest.approx(penalty, rel=1e-5)
    assert sum(found.values()) == pytest.approx(
        sum(kreg.penalties(model).values()), rel=1e-5
    )


@pytest.mark.thorough
def test_layer_is_its_weights_together():
    model = network()
    reading = repeated(model)
    (lstm,) = [r for r in reading.layers if "lstm" in r.path]
    own = np.concatenate(
        [w.ravel() for p, w in values(model).items() if "lstm" in p]
    )
    assert lstm.size == own.size
    assert lstm.sparsity == np.mean(own == 0.0)
    assert lstm.l2_norm == pytest.approx(np.linalg.norm(own), rel=1e-5)
    assert lstm.penalty == sum(w.penalty for w in lstm.weights)


def test_every_reading_is_of_the_weights_as_they_are():
    model = network()
    repeated(model)
    with_weights(model, sparsity=0.9)
    reading = kreg.statistics.read(model)
    known = np.concatenate([w.ravel() for w in values(model).values()])
    assert reading.sparsity == np.mean(known == 0.0)


def test_strength_follows_step_and_multiplier():
    penalty = kreg.L2(kreg.schedules.LinearRamp(0.0, 1.0, steps=10))
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(1, kernel_regularizer=penalty)]
    )
    model.compile("sgd", "mse")
    repeated(model)
    model.optimizer.iterations.assign(5)
    penalty.multiplier = 3.0
    assert kreg.statistics.read(model).weights[0].strengths == {"l2": 1.5}


def test_frozen_support_and_thaw_are_seen():
    layer = layers.Dense(2, kernel_regularizer=kreg.L1(0.5))
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("sgd", "mse")
    kreg.bind(model)
    assert repeated(model).penalty > 0
    kreg.freeze_support(model)
    assert kreg.statistics.read(model).penalty == 0
    kreg.unfreeze_support(model)
    assert kreg.statistics.read(model).penalty > 0


def test_changed_keras_regularizer_is_seen():
    regularizer = keras.regularizers.L2(0.5)
    layer = layers.Dense(
        1, kernel_initializer="ones", kernel_regularizer=regularizer
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    assert repeated(model).penalty == 2.0
    regularizer.l2 = 1.0
    assert kreg.statistics.read(model).penalty == 4.0


def test_share_of_the_loss():
    layer = layers.Dense(
        1, kernel_initializer="ones", kernel_regularizer=kreg.L1(0.25)
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    reading = repeated(model, data_loss=3.0)
    assert reading.weights[0].penalty_share == 0.25
    assert reading.penalty_share == 0.25
    assert kreg.statistics.read(model).penalty_share is None


@pytest.mark.thorough
def test_model_that_was_read_can_go():
    model = network()
    repeated(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("setting", "error"),
    [({"threshold": -1.0}, ValueError), ({"data_loss": "1"}, TypeError)],
)
def test_bad_settings_are_refused(setting, error):
    (name,) = setting
    with pytest.raises(error, match=f"`{name}` must be"):
        kreg.statistics.read(network(), **setting)


X = RNG.normal(size=(64, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 1)) + 1.0).astype("float32")
OPTIMIZERS = {
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.0),
    "nadam": lambda rate: keras.optimizers.Nadam(rate),
    "adamax": lambda rate: keras.optimizers.Adamax(rate),
}


def train(model, steps):
    """Steps on the whole data, in one epoch."""
    x, y = np.tile(X, (steps, 1)), np.tile(Y, (steps, 1))
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)


def regression(optimizer, penalty=None, steps=5):
    layer = layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile(optimizer, "mse")
    kreg.bind(model)
    train(model, steps)
    return model


def gradient(model):
    """Of the mean squared error, for the kernel."""
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    return 2.0 * X.T @ (X @ kernel + bias - Y) / len(X)


@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "adam"))
def test_gradient_norm_is_that_of_the_data_loss(name):
    # With a tiny rate the gradient stays what it is.
    model = regression(
        kreg.ProximalOptimizer(OPTIMIZERS[name](1e-9)), kreg.L1(0.5)
    )
    kernel = repeated(model).weights[0]
    expected = np.linalg.norm(gradient(model))
    assert kernel.gradient_norm == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "momentum"))
def test_optimality_is_the_residual_of_a_proximal_gradient_step(name):
    model = regression(
        kreg.ProximalOptimizer(OPTIMIZERS[name](1e-9)), kreg.L1(0.5)
    )
    w = model.get_weights()[0].astype("float64")
    moved = w - gradient(model)
    stepped = np.sign(moved) * np.maximum(np.abs(moved) - 0.5, 0.0)
    for reading in (kreg.statistics.read(model), repeated(model)):
        assert reading.weights[0].optimality == pytest.approx(
            np.linalg.norm(w - stepped), rel=1e-4
        )


@pytest.mark.thorough
@pytest.mark.parametrize(
    "penalty",
    [kreg.L1(0.5), kreg.MCP(0.5), kreg.GroupLasso(0.8, "inputs")],
    ids=lambda penalty: type(penalty).__name__,
)
def test_optimality_tells_converged_from_stopped_early(penalty):
    adam = keras.optimizers.Adam(0.05)
    model = regression(kreg.ProximalOptimizer(adam), penalty, steps=10)
    early = kreg.statistics.read(model).optimality
    train(model, 600)
    late = kreg.statistics.read(model).optimality
    assert kreg.statistics.read(model).sparsity > 0
    assert late < 1e-3 < 1e-1 < early


def test_penalty_in_the_loss_is_part_of_the_remembered_gradient():
    model = regression(OPTIMIZERS["adam"](1e-9), kreg.L2(0.5))
    kernel, bias = repeated(model).weights
    assert kernel.gradient_norm is None
    assert bias.gradient_norm == bias.optimality
    w = model.get_weights()[0].astype("float64")
    total = gradient(model) + 2 * 0.5 * w
    assert kernel.optimality == pytest.approx(np.linalg.norm(total), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad"])
def test_optimizer_without_an_average_of_gradients(optimizer):
    reading = repeated(regression(optimizer))
    assert reading.optimality is None
    assert reading.weights[0].gradient_norm is None


def test_no_gradient_before_the_first_step():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    assert repeated(model).optimality is None


@pytest.mark.tensorflow
def test_mirrored_weights_are_read(mirrored_strategy):
    with mirrored_strategy.scope():
        model = keras.Sequential(
            [keras.Input((300,)), layers.Dense(600, name="dense")]
        )
    with_weights(model)
    kernel, _ = repeated(model).weights
    w = values(model)[kernel.path]
    assert kernel.sparsity == np.mean(w == 0.0)
    assert kernel.l2_norm == pytest.approx(np.linalg.norm(w), rel=1e-5)


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "bfloat16",
        pytest.param(
            "float64",
            marks=pytest.mark.skipif(
                keras.backend.backend() == "jax", reason="JAX has it off"
            ),
        ),
    ],
)
def test_other_dtypes(dtype):
    model = keras.Sequential(
        [keras.Input((400,)), layers.Dense(400, dtype=dtype)]
    )
    model.set_weights([np.full((400, 400), 2.0), np.zeros(400)])
    kernel, bias = repeated(model).weights
    assert kernel.l1_norm == 320_000
    assert kernel.l2_norm == pytest.approx(800, rel=1e-6)
    assert (kernel.zeros, bias.zeros) == (0, 400)
