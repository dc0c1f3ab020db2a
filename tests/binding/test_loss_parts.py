"""`fit` logs the data loss apart from the penalty."""

import keras
import numpy as np
import pytest

import kreg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype("float32")
Y = RNG.normal(size=(10, 1)).astype("float32")
DOUBLING = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 2.0)


def model_of(*, rate=0.0, penalty=None, bias=None, **compiled):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(
                1, kernel_regularizer=penalty, bias_regularizer=bias
            ),
        ]
    )
    model.compile(keras.optimizers.SGD(rate), "mse", **compiled)
    return model


def squared_error(model, x=X, y=Y):
    return np.mean((model.predict(x, verbose=0) - y) ** 2)


def fit(model, **arguments):
    arguments = {"batch_size": 4, "verbose": 0, "shuffle": False, **arguments}
    return model.fit(X, Y, **arguments).history


def test_data_loss_of_fixed_weights():
    model = model_of(penalty=kreg.L2(0.5))
    kreg.bind(model)
    history = fit(model, validation_data=(X[:5], Y[:5]))
    kernel = model.get_weights()[0]
    expected = {
        "penalty": 0.5 * np.sum(kernel**2),
        "val_penalty": 0.5 * np.sum(kernel**2),
        "data_loss": squared_error(model),
        "val_data_loss": squared_error(model, X[:5], Y[:5]),
    }
    assert set(history) == {*expected, "loss", "val_loss"}
    for name, value in expected.items():
        np.testing.assert_allclose(history[name], [value], rtol=1e-5)


def test_means_count_samples_with_a_short_last_batch():
    penalty = kreg.L1(DOUBLING)
    model = model_of(penalty=penalty)
    kreg.bind(model)
    history = fit(model)  # batches of 4, 4 and 2 at strengths 0.5, 1 and 2
    norm = np.abs(model.get_weights()[0]).sum()
    mean = (4 * 0.5 + 4 * 1.0 + 2 * 2.0) / 10 * norm
    np.testing.assert_allclose(history["penalty"], [mean], rtol=1e-5)
    np.testing.assert_allclose(
        history["data_loss"], [squared_error(model)], rtol=1e-5
    )


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_parts_add_up_to_the_loss(rate):
    model = model_of(rate=rate, penalty=kreg.L1(0.1), bias=kreg.L2(0.2))
    kreg.bind(model)
    history = fit(model, epochs=3, validation_data=(X, Y))
    for prefix in ("", "val_"):
        total = np.add(
            history[f"{prefix}data_loss"], history[f"{prefix}penalty"]
        )
        np.testing.assert_allclose(history[f"{prefix}loss"], total, rtol=1e-5)


@pytest.mark.parametrize(
    "penalty",
    [keras.regularizers.L1(0.3), lambda w: 0.3 * keras.ops.sum(abs(w))],
    ids=["keras", "function"],
)
def test_other_regularizers_count_as_penalty(penalty):
    model = model_of(penalty=penalty)
    kreg.bind(model)
    history = fit(model)
    norm = np.abs(model.get_weights()[0]).sum()
    np.testing.assert_allclose(history["penalty"], [0.3 * norm], rtol=1e-5)


def test_model_without_penalties():
    model = model_of()
    kreg.bind(model)
    history = fit(model)
    assert history["penalty"] == [0.0]
    assert history["data_loss"] == history["loss"]


def test_frozen_weights_have_no_penalty():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3, kernel_regularizer=kreg.L1(0.5)),
            keras.layers.Dense(1),
        ]
    )
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    assert fit(model)["penalty"] == [0.0]


def test_early_stopping_on_the_data_loss():
    """The penalty keeps rising; the data loss of fixed weights is constant."""
    model = model_of(penalty=kreg.L1(DOUBLING))
    kreg.bind(model)
    stop = keras.callbacks.EarlyStopping(monitor="val_data_loss", patience=1)
    history = fit(
        model, epochs=9, validation_data=(X, Y), callbacks=[stop], batch_size=10
    )
    assert len(history["loss"]) == 2


def test_evaluate_returns_the_list_that_keras_returns():
    model = model_of(penalty=kreg.L1(0.1), metrics=["mae"])
    plain = model.evaluate(X, Y, verbose=0)
    kreg.bind(model)
    np.testing.assert_allclose(
        model.evaluate(X, Y, verbose=0), plain, rtol=1e-6
    )


def test_on_batch_methods_return_the_list_that_keras_returns():
    model = model_of(penalty=kreg.L1(0.1), metrics=["mae"])
    kreg.bind(model)
    assert len(model.train_on_batch(X, Y)) == 2
    assert len(model.test_on_batch(X, Y)) == 2


def test_dictionaries_hold_the_parts():
    model = model_of(penalty=kreg.L1(0.1), metrics=["mae"])
    kreg.bind(model)
    names = set(model.evaluate(X, Y, verbose=0, return_dict=True))
    assert names == {"loss", "mae", "data_loss", "penalty"}


def test_several_outputs_and_sample_weights():
    inputs = keras.Input((3,))
    outputs = {
        name: keras.layers.Dense(1, kernel_regularizer=kreg.L2(0.5), name=name)(
            inputs
        )
        for name in ("a", "b")
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.SGD(0.0),
        {"a": "mse", "b": "mse"},
        loss_weights={"a": 1.0, "b": 2.0},
    )
    y = {"a": Y, "b": Y}
    weights = {"a": np.arange(10.0), "b": np.ones(10)}
    plain = model.fit(X, y, sample_weight=weights, verbose=0, batch_size=10)
    kreg.bind(model)
    parts = model.fit(X, y, sample_weight=weights, verbose=0, batch_size=10)
    penalty = sum(0.5 * np.sum(w**2) for w in model.get_weights()[::2])
    np.testing.assert_allclose(parts.history["penalty"], penalty, rtol=1e-5)
    np.testing.assert_allclose(
        parts.history["data_loss"],
        plain.history["loss"][0] - penalty,
        rtol=1e-4,
    )


def test_own_compute_loss_is_kept():
    class Doubled(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return 2.0 * keras.ops.mean((y - y_pred) ** 2) + sum(self.losses)

    inputs = keras.Input((3,))
    layer = keras.layers.Dense(1, kernel_regularizer=kreg.L1(0.5))
    model = Doubled(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    history = fit(model)
    np.testing.assert_allclose(
        history["data_loss"], [2 * squared_error(model)], rtol=1e-5
    )


def test_training_is_the_same_bound_or_not():
    trained = []
    for bind in (False, True):
        keras.utils.set_random_seed(1)
        model = model_of(rate=0.1, penalty=kreg.L1L2(0.05, 0.1))
        if bind:
            kreg.bind(model)
        fit(model, epochs=3)
        trained.append(model.get_weights())
    for unbound, bound in zip(*trained, strict=True):
        np.testing.assert_allclose(bound, unbound, rtol=1e-6)


def test_trains_as_with_the_penalty_of_keras():
    trained = []
    for penalty in (keras.regularizers.L1L2(0.05, 0.1), kreg.L1L2(0.05, 0.1)):
        keras.utils.set_random_seed(1)
        model = model_of(rate=0.1, penalty=penalty)
        fit(model, epochs=3)
        trained.append(model.get_weights())
    for theirs, ours in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
