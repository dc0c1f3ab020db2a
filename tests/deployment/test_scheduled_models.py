"""A model whose strength follows a schedule is saved and shipped like any."""

import keras
import numpy as np
import pytest

import kreg

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def trained(bound):
    """Four updates, under a strength that is the step number over 100."""
    keras.utils.set_random_seed(0)
    ramp = kreg.schedules.LinearRamp(0.0, 1.0, steps=100)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, kernel_regularizer=kreg.L1(ramp)),
            keras.layers.Dense(1),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.MeanSquaredError(),
        metrics=[keras.metrics.MeanAbsoluteError()],
    )
    if bound:
        kreg.bind(model)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    return model


# What is not bound says so when it trains.
pytestmark = [
    pytest.mark.parametrize("bound", [True, False], ids=["bound", "unbound"]),
    pytest.mark.filterwarnings("ignore:.*bind:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*HDF5 file:UserWarning"),
]


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_loaded_model_evaluates_with_the_strength_of_its_step(
    bound, ending, tmp_path
):
    model = trained(bound)
    model.save(tmp_path / f"net.{ending}")
    loaded = keras.saving.load_model(tmp_path / f"net.{ending}")
    kreg.bind(loaded)
    parts = loaded.evaluate(X, Y, verbose=0, return_dict=True)
    kernel = model.layers[0].get_weights()[0]
    assert parts["penalty"] == pytest.approx(
        0.04 * np.abs(kernel).sum(), rel=1e-5
    )
    error = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    assert parts["data_loss"] == pytest.approx(error, rel=1e-5)


@pytest.mark.tensorflow
def test_tf_saved_model_save_keeps_the_outputs(bound, tmp_path):
    import tensorflow as tf

    model = trained(bound)
    tf.saved_model.save(model, str(tmp_path / "net"))
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    signature = loaded.signatures["serving_default"]
    (outputs,) = signature(tf.constant(X)).values()
    np.testing.assert_allclose(outputs, model.predict(X, verbose=0), rtol=1e-5)


@pytest.mark.tensorflow
def test_keras_exports_it_as_it_is(bound, tmp_path):
    import tensorflow as tf

    model = trained(bound)
    model.export(tmp_path / "net", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    np.testing.assert_allclose(
        loaded.serve(X), model.predict(X, verbose=0), rtol=1e-5
    )


def test_exporting_leaves_the_model_at_its_step(bound, tmp_path):
    model = trained(bound)
    kreg.export(model, tmp_path / "net.keras", "keras")
    kreg.bind(model)
    parts = model.evaluate(X, Y, verbose=0, return_dict=True)
    kernel = model.layers[0].get_weights()[0]
    assert parts["penalty"] == pytest.approx(
        0.04 * np.abs(kernel).sum(), rel=1e-5
    )
