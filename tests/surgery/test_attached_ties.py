"""Penalties that are tied across weights come back from the model's file."""

import keras
import numpy as np
import pytest
from heads import X, Y, attention_model, values

import kreg


def fit(model, epochs, start=0):
    model.fit(
        X, Y, epochs=epochs, initial_epoch=start, shuffle=False, verbose=0
    )


def tied_model():
    model = attention_model()
    adam = keras.optimizers.Adam(0.01)
    model.compile(kreg.ProximalOptimizer(adam), "mse")
    ramp = kreg.schedules.LinearRamp(0.0, 0.05, steps=4)
    kreg.attach(model, kreg.GroupLasso(ramp, groups="heads"))
    return model


@pytest.mark.slow
def test_training_of_a_checkpoint_goes_on(tmp_path):
    unbroken, model = tied_model(), tied_model()
    fit(unbroken, 4)
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kreg.bind(loaded)
    assert kreg.penalties(loaded) == kreg.penalties(model)
    fit(loaded, 4, start=2)
    for path, array in values(unbroken).items():
        np.testing.assert_array_equal(values(loaded)[path], array)


@pytest.mark.thorough
def test_tie_is_shared_with_weights_of_its_own(tmp_path):
    model = tied_model()
    fit(model, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kreg.bind(loaded)
    penalties = {id(v.regularizer.penalty) for v in loaded.weights[:7]}
    assert len(penalties) == 1
    loaded.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    assert len(kreg.bind(again) and kreg.penalties(again)) == len(
        kreg.penalties(model)
    )
