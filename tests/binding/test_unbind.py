"""`unbind` leaves a model as it was before `bind`."""

import keras
import numpy as np
import pytest

import kreg
from kreg.binding import is_bound, unbind

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


def network(penalty=None):
    keras.utils.set_random_seed(1)
    layer = keras.layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    return model


def fit(model, epochs=2):
    return model.fit(
        X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0
    )


def state_of(model):
    """What binding may change in a model, as far as Keras reads it."""
    return {
        "attributes": sorted(vars(model)),
        "metrics": [metric.name for metric in model.metrics],
        "state": [v.path for v in model.non_trainable_variables],
        "methods": {
            name: getattr(model, name)
            for name in (
                "train_step",
                "test_step",
                "compute_loss",
                "make_train_function",
                "make_test_function",
                "_flatten_metrics_in_order",
            )
        },
        "regularizers": [id(v.regularizer) for v in model.weights],
    }


@pytest.mark.parametrize(
    "penalty", [None, kreg.L1(0.1), keras.regularizers.L2(0.1)]
)
def test_everything_is_as_it_was(penalty):
    model = network(penalty)
    before = state_of(model)
    kreg.bind(model)
    assert state_of(model) != before
    assert unbind(model)
    assert state_of(model) == before
    assert not is_bound(model)


def test_everything_is_as_it_was_after_training():
    model = network(keras.regularizers.L2(0.1))
    fit(model)
    model.evaluate(X, Y, verbose=0)
    before = state_of(model)
    kreg.bind(model)
    fit(model)
    model.evaluate(X, Y, verbose=0)
    unbind(model)
    assert state_of(model) == before


def test_model_that_is_not_bound_is_left_alone():
    assert not unbind(network())


def test_training_goes_on_as_without_kreg():
    trained = []
    for bound in (True, False):
        model = network(keras.regularizers.L2(0.1))
        if bound:
            kreg.bind(model)
        fit(model)
        if bound:
            unbind(model)
        history = fit(model).history
        assert set(history) == {"loss", "mae"}
        trained.append((*model.get_weights(), history["loss"]))
    for ours, theirs in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_evaluation_logs_no_parts():
    model = network(kreg.L1(0.1))
    kreg.bind(model)
    model.evaluate(X, Y, verbose=0)
    unbind(model)
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "mae"}
    assert len(model.evaluate(X, Y, verbose=0)) == 2


def test_method_that_was_set_on_the_model_stays():
    model = network()
    calls = []
    compute_loss = model.compute_loss

    def counted(*args, **kwargs):
        calls.append(1)
        return compute_loss(*args, **kwargs)

    model.compute_loss = counted
    kreg.bind(model)
    unbind(model)
    assert vars(model)["compute_loss"] is counted
    fit(model)
    assert calls


def test_overridden_step_is_the_classes_again():
    class Model(keras.Sequential):
        def train_step(self, *args):
            return super().train_step(*args)

    model = Model([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    kreg.bind(model)
    fit(model)
    unbind(model)
    assert "train_step" not in vars(model)
    assert set(fit(model).history) == {"loss"}


def test_penalty_stays_with_its_multiplier():
    penalty = kreg.L1(0.5)
    model = network(penalty)
    kreg.bind(model)
    penalty.multiplier = 2.0
    unbind(model)
    assert model.layers[0].kernel.regularizer is penalty
    expected = 2.0 * 0.5 * np.abs(model.get_weights()[0]).sum()
    loss = float(keras.ops.convert_to_numpy(model.losses[0]))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_binds_again():
    model = network(kreg.L1(0.1))
    for _ in range(2):
        kreg.bind(model)
        fit(model, epochs=1)
        unbind(model)
    kreg.bind(model)
    assert "penalty" in fit(model).history


def test_another_model_with_the_same_layer_stays_bound():
    model = network(kreg.L1(0.1))
    inputs = keras.Input((4,))
    other = keras.Model(inputs, model.layers[0](inputs))
    other.compile("sgd", "mse")
    kreg.bind(model)
    kreg.bind(other)
    unbind(model)
    kernel = model.layers[0].kernel
    assert isinstance(kernel.regularizer, kreg.binding.BoundPenalty)
    expected = 0.1 * np.abs(kernel.numpy()).sum()
    logs = other.evaluate(X, Y, verbose=0, return_dict=True)
    assert logs["penalty"] == pytest.approx(expected, rel=1e-5)


def test_saves_the_same_variables(tmp_path):
    model = network(kreg.L1(0.1))
    kreg.bind(model)
    fit(model)
    unbind(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
