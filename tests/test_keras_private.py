"""What kreg takes from Keras below its public names is still there."""

import keras
import numpy as np
import pytest

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


def test_own_variables_are_the_layers_alone():
    norm = keras.layers.BatchNormalization()
    keras.Sequential([keras.Input((2,)), norm])
    assert [v.name for v in private.own_variables(norm)] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]


def map_of_optimizers():
    sgd, adam = keras.optimizers.SGD(), keras.optimizers.Adam()
    chosen = keras.optimizers.OptimizerMap(sgd, {".*/bias": adam})
    return keras.optimizers.MultiOptimizer(chosen), sgd, adam


def test_optimizer_is_chosen_alike_before_and_after_it_is_built():
    multi, sgd, adam = map_of_optimizers()
    kernel, bias = built_model().trainable_variables
    for build in (lambda: None, lambda: multi.build([kernel, bias])):
        build()
        assert private.chosen_optimizer(multi, kernel) is sgd
        assert private.chosen_optimizer(multi, bias) is adam


def test_optimizer_of_another_kind_is_its_own_choice():
    adam = keras.optimizers.Adam()
    kernel = built_model().trainable_variables[0]
    assert private.chosen_optimizer(adam, kernel) is adam


DECAYING = {
    "SGD": lambda: keras.optimizers.SGD(0.1, weight_decay=0.5),
    "AdamW": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.5),
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "Muon": lambda: keras.optimizers.Muon(
        0.1, weight_decay=0.5, adam_weight_decay=0.25
    ),
}


@pytest.mark.parametrize("excluded", ["nothing", "kernel", "last$", "var_list"])
@pytest.mark.parametrize("name", DECAYING)
def test_weight_decay_is_what_an_update_without_gradient_takes(name, excluded):
    optimizer = DECAYING[name]()
    layer = keras.layers.Dense(1, bias_initializer="ones", name="last")
    model = keras.Sequential([keras.Input((2,)), layer], name="net")
    if excluded == "var_list":
        optimizer.exclude_from_weight_decay(var_list=[layer.bias])
    elif excluded != "nothing":
        optimizer.exclude_from_weight_decay(var_names=[excluded])
    expected = []
    for variable in model.trainable_variables:
        _, decay = private.weight_decay_of(optimizer, variable)
        shrunk = 1.0 - 0.1 * (decay or 0.0)
        expected.append(shrunk * keras.ops.convert_to_numpy(variable))
    zeros = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    for variable, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-6)


def test_asking_for_weight_decay_leaves_no_trace():
    optimizer = keras.optimizers.AdamW()
    before = set(vars(optimizer))
    private.weight_decay_of(optimizer, built_model().trainable_variables[0])
    assert set(vars(optimizer)) == before


def called(graph):
    return {node.operation for node in graph.nodes}


def test_graph_of_a_functional_model():
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(2)
    hidden = layer(inputs)
    model = keras.Model(inputs, hidden + hidden)
    graph = private.graph_of(model)
    assert layer in called(graph)
    (add,) = [n for n in graph.nodes if hidden in list(n.input_tensors)]
    assert add.output_tensors[0] is graph.outputs[0] is model.outputs[0]
    assert graph.inputs[0] is inputs


def test_graph_of_a_sequential_model_is_its_last():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.add(keras.layers.Dense(3))
    assert set(model.layers) <= called(private.graph_of(model))


def test_graph_tells_how_a_layer_is_called():
    inputs = keras.Input((2,))
    norm = keras.layers.BatchNormalization()
    graph = private.graph_of(keras.Model(inputs, norm(inputs, training=False)))
    (node,) = [n for n in graph.nodes if n.operation is norm]
    assert node.arguments.kwargs["training"] is False


def test_subclassed_model_has_no_graph():
    class Model(keras.Model):
        def call(self, x):
            return x

    assert private.graph_of(Model()) is None
    assert private.graph_of(keras.layers.Dense(1)) is None
