"""What kreg takes from Keras below its public names is still there."""

import keras
import numpy as np

from kreg import _keras_private as private


def built_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_layers_are_listed_however_deep():
    inner = built_model()
    outer = keras.Sequential([keras.Input((2,)), inner])
    assert {outer, inner, inner.layers[0]} <= set(private.flatten_layers(outer))


def test_listed_metric_is_logged():
    model = built_model()
    metric = keras.metrics.Mean(name="extra")
    private.list_metric(model, metric)
    assert any(m is metric for m in model.metrics)
    logs = model.evaluate(
        np.zeros((1, 2)), np.zeros((1, 1)), verbose=0, return_dict=True
    )
    assert "extra" in logs


def test_direction_of_logged_means_is_known():
    model = built_model()
    private.list_metric(model, private.LoggedMeans(["extra"], name="list"))
    stop = keras.callbacks.EarlyStopping(monitor="val_extra")
    x, y = np.zeros((1, 2)), np.zeros((1, 1))
    model.fit(x, y, validation_data=(x, y), callbacks=[stop], verbose=0)
    assert stop.monitor_op is keras.ops.less


def test_carried_state_is_no_weight():
    model = built_model()
    variable = keras.Variable(1.0, trainable=False)
    private.carry_state(model, variable)
    assert any(v is variable for v in model.non_trainable_variables)
    assert not any(v is variable for v in model.weights)


def test_hidden_names_are_in_no_list():
    model = built_model()
    private.list_metric(model, keras.metrics.Mean(name="extra"))
    private.hide_from_lists(model, ["extra"])
    loss = model.evaluate(np.zeros((1, 2)), np.zeros((1, 1)), verbose=0)
    assert isinstance(loss, float)


def test_symbolic_scope_is_told_apart():
    seen = []

    class Layer(keras.layers.Layer):
        def call(self, x):
            seen.append(private.in_symbolic_scope())
            return x

    Layer()(keras.Input((2,)))
    Layer()(np.zeros((1, 2)))
    assert (seen[0], seen[-1]) == (True, False)
