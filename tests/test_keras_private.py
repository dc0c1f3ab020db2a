"""What kreg takes from Keras below its public names is still there."""

import threading

import keras
import numpy as np
import pytest

from kreg import _keras_private as private

BACKEND = keras.backend.backend()


def built_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_layers_are_listed_however_deep():
    inner = built_model()
    outer = keras.Sequential([keras.Input((2,)), inner])
    assert {outer, inner, inner.layers[0]} <= set(private.flatten_layers(outer))


def test_layers_are_listed_in_the_order_of_their_weights():
    first = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    inner = keras.Sequential([keras.Input((2,)), first, keras.layers.Dense(1)])
    outer = keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(3)])
    weights = [
        weight
        for layer in private.flatten_layers(outer)
        for weight in private.own_variables(layer)
    ]
    assert [id(w) for w in weights] == [id(w) for w in outer.weights]


def test_listed_metric_is_logged():
    model = built_model()
    metric = keras.metrics.Mean(name="extra")
    private.list_metric(model, metric)
    assert any(m is metric for m in model.metrics)
    logs = model.evaluate(
        np.zeros((1, 2)), np.zeros((1, 1)), verbose=0, return_dict=True
    )
    assert "extra" in logs


def test_metric_is_unlisted():
    model = built_model()
    before = model.metrics
    private.list_metric(model, keras.metrics.Sum(name="extra"))
    private.unlist_metrics(model, keras.metrics.Sum)
    assert model.metrics == before


def test_direction_of_logged_means_is_known():
    model = built_model()
    private.list_metric(model, private.LoggedMeans(["extra"], name="list"))
    stop = keras.callbacks.EarlyStopping(monitor="val_extra")
    x, y = np.zeros((1, 2)), np.zeros((1, 1))
    model.fit(x, y, validation_data=(x, y), callbacks=[stop], verbose=0)
    assert stop.monitor_op is keras.ops.less


@pytest.mark.parametrize(
    ("loss", "weights", "expected"),
    [
        ("mse", None, 1.0),
        ("mse", 2.0, 2.0),
        (["mse"], [0.5], 0.5),
        (["mse", "mae"], [0.5, 2.0], None),
    ],
)
def test_weight_of_the_only_loss(loss, weights, expected):
    model = built_model()
    model.compile("sgd", loss, loss_weights=weights)
    assert private.weight_of_loss(model) == expected


def test_carried_state_is_no_weight():
    model = built_model()
    variable = keras.Variable(1.0, trainable=False)
    private.carry_state(model, variable)
    assert any(v is variable for v in model.non_trainable_variables)
    assert not any(v is variable for v in model.weights)


def test_carried_state_comes_back_after_a_block():
    model = built_model()
    variable = keras.Variable(0.0, trainable=False)
    private.carry_state(model, variable)
    with private.without_carried_state(model):
        assert not any(v is variable for v in model.non_trainable_variables)
    assert any(v is variable for v in model.non_trainable_variables)


def test_carried_state_is_dropped():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5)])
    before = [id(v) for v in model.non_trainable_variables]
    private.carry_state(model, keras.Variable(1.0, trainable=False))
    private.drop_carried_state(model)
    assert [id(v) for v in model.non_trainable_variables] == before


def test_carried_state_is_in_the_state_tree():
    model = built_model()
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    private.carry_state(
        model, keras.Variable(1.0, trainable=False, name="extra")
    )
    tree = model.get_state_tree(value_format="numpy_array")
    assert tree["non_trainable_variables"]["extra"] == 1.0


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a TensorFlow checkpoint")
def test_carried_state_is_in_checkpoints_until_it_is_dropped(tmp_path):
    import tensorflow as tf

    def names():
        path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
        return [name for name, _ in tf.train.list_variables(path)]

    model = built_model()
    before = names()
    variable = keras.Variable(1.0, trainable=False, name="extra")
    private.carry_state(model, variable)
    assert set(names()) - set(before) == {
        "model/extra/.ATTRIBUTES/VARIABLE_VALUE"
    }
    private.drop_carried_state(model)
    assert names() == before


class Number(private.SavedState):
    """A number that is saved with the weights."""

    def __init__(self, number):
        self.number = number

    def save_own_variables(self, store):
        store["number"] = np.float64(self.number)

    def load_own_variables(self, store):
        if "number" in store:
            self.number = float(store["number"])


@pytest.mark.parametrize("place", ["attribute of a layer", "list"])
def test_saved_state_is_in_the_file_of_weights(place, tmp_path):
    def model_with(number):
        model = built_model()
        if place == "list":
            private.save_with_weights(model, [number])
        else:
            model.layers[0].number = number
        return model

    model_with(Number(0.1)).save_weights(tmp_path / "model.weights.h5")
    loaded = Number(2.0)
    model_with(loaded).load_weights(tmp_path / "model.weights.h5")
    assert loaded.number == 0.1
    built_model().load_weights(tmp_path / "model.weights.h5")


def test_saved_state_of_a_layer_is_saved_there(tmp_path):
    """Also where the model lists it: who loads it may not list it yet."""
    model, number = built_model(), Number(0.1)
    model.layers[0].number = number
    private.save_with_weights(model, [number])
    model.save_weights(tmp_path / "model.weights.h5")
    other, loaded = built_model(), Number(2.0)
    other.layers[0].number = loaded
    other.load_weights(tmp_path / "model.weights.h5")
    assert loaded.number == 0.1


def test_saved_states_are_dropped(tmp_path):
    model = built_model()
    private.save_with_weights(model, [Number(0.1)])
    private.drop_saved_states(model)
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = Number(2.0)
    private.save_with_weights(model, [loaded])
    model.load_weights(tmp_path / "model.weights.h5")
    assert loaded.number == 2.0


class Note(private.ModelRecord):
    """A text that is kept with a model."""

    written = None
    read = None

    def is_needed(self, model):
        return self.written is not None

    def text(self, model):
        return f"{self.written} of {model.name}"

    def restore(self, model, text):
        self.read = text


@pytest.fixture
def note_of(monkeypatch):
    # The property of kreg is put back afterwards.
    monkeypatch.setattr(keras.Model, private.RECORD, None)
    return private.keep_with_models(Note)


def test_record_is_in_the_file_of_a_model(note_of, tmp_path):
    inner = built_model()
    model = keras.Sequential([keras.Input((2,)), inner])
    note_of(model).written, note_of(inner).written = "note", "other"
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert note_of(loaded).read == f"note of {model.name}"
    assert note_of(loaded.layers[0]).read == f"other of {inner.name}"


def test_record_is_in_no_file_of_weights(note_of, tmp_path):
    model, other = built_model(), built_model()
    note_of(model).written = "note"
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.keras")
    assert note_of(other).read is None


def test_record_that_is_not_needed_is_in_no_file(note_of, tmp_path):
    model = built_model()
    model.save(tmp_path / "model", zipped=False)
    assert not list((tmp_path / "model").rglob("*record*"))
    assert note_of(keras.saving.load_model(tmp_path / "model")).read is None


def test_stateless_scope_is_known():
    assert not private.is_stateless()
    with keras.StatelessScope():
        assert private.is_stateless()


def test_state_is_current_in_the_middle_of_an_epoch():
    model = built_model()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    optimizer, seen = model.optimizer, []

    def look(batch, logs):
        private.make_state_current(model)
        seen.append(int(keras.ops.convert_to_numpy(optimizer.iterations)))

    model.fit(
        np.ones((3, 2)),
        np.ones((3, 1)),
        batch_size=1,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=look)],
        verbose=0,
    )
    assert seen == [1, 2, 3]


def test_hidden_names_are_in_no_list():
    model = built_model()
    private.list_metric(model, keras.metrics.Mean(name="extra"))
    private.hide_from_lists(model, ["extra"])
    loss = model.evaluate(np.zeros((1, 2)), np.zeros((1, 1)), verbose=0)
    assert isinstance(loss, float)


def test_hidden_names_are_shown_again():
    model = built_model()
    private.list_metric(model, keras.metrics.Mean(name="extra"))
    private.hide_from_lists(model, ["extra"])
    private.show_in_lists(model)
    logs = model.evaluate(np.zeros((1, 2)), np.zeros((1, 1)), verbose=0)
    assert len(logs) == 2


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_replaced_optimizer_trains_and_is_saved(policy):
    keras.config.set_dtype_policy(policy)
    model = built_model()
    adam = keras.optimizers.Adam()
    scaled = policy == "mixed_float16"
    new = keras.optimizers.LossScaleOptimizer(adam) if scaled else adam
    private.replace_optimizer(model, new)
    config = model.get_compile_config()["optimizer"]
    assert config["class_name"] == "Adam"
    model.fit(np.zeros((1, 2)), np.zeros((1, 1)), verbose=0)
    assert int(keras.ops.convert_to_numpy(adam.iterations)) == 1


def test_accumulated_gradients_are_counted():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
    variable = keras.Variable([1.0])
    for _ in range(5):
        optimizer.apply([keras.ops.ones((1,))], [variable])
    count = private.gradient_count(optimizer)
    assert int(keras.ops.convert_to_numpy(count)) == 5
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 1


def test_rate_takes_the_place_of_a_schedule():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 10, 0.0)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    variable = keras.Variable([1.0])
    optimizer.build([variable])
    before = optimizer.variables
    assert private.rate_of(optimizer) is schedule
    private.set_rate(optimizer, 0.25)
    fresh = keras.optimizers.SGD(0.25, momentum=0.9)
    fresh.build([variable])
    assert [v.name for v in optimizer.variables] == [
        v.name for v in fresh.variables
    ]
    assert optimizer.get_config()["learning_rate"] == 0.25
    optimizer.apply([keras.ops.ones((1,))], [variable])
    value = float(keras.ops.convert_to_numpy(variable)[0])
    assert value == pytest.approx(0.75)
    private.set_rate(optimizer, schedule)
    assert private.rate_of(optimizer) is schedule
    assert [id(v) for v in optimizer.variables] == [id(v) for v in before]


def test_symbolic_scope_is_told_apart():
    seen = []

    class Layer(keras.layers.Layer):
        def call(self, x):
            seen.append(private.in_symbolic_scope())
            return x

    Layer()(keras.Input((2,)))
    Layer()(np.zeros((1, 2)))
    assert (seen[0], seen[-1]) == (True, False)


def test_own_layers_are_not_those_inside_them():
    inner = built_model()
    outer = keras.Sequential([keras.Input((2,)), inner])
    held = private.own_layers(outer)
    assert inner in held
    assert inner.layers[0] not in held


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


def test_plain_models_are_of_keras_own_classes():
    class Model(keras.Model):
        pass

    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(1)(inputs)
    assert private.is_plain_model(keras.Model(inputs, outputs))
    assert private.is_plain_model(
        keras.Sequential([inputs, keras.layers.Dense(1)])
    )
    assert not private.is_plain_model(Model(inputs, outputs))
    assert not private.is_plain_model(keras.layers.Dense(1))


def test_masks_that_tensors_carry():
    ids = keras.Input((3,), dtype="int32")
    for mask_zero in (True, False):
        x = keras.layers.Embedding(4, 2, mask_zero=mask_zero)(ids)
        y = keras.layers.LayerNormalization()(x)
        assert private.carries_mask(x) is mask_zero
        assert private.carries_mask(y) is mask_zero


def test_lambdas_are_made_from_configs_when_trusting():
    layer = keras.layers.Lambda(lambda x: x + 1)
    with private.trusting():
        copy = keras.layers.Lambda.from_config(layer.get_config())
    assert float(copy(np.zeros(1))[0]) == 1.0
    with pytest.raises(ValueError, match="safe"):
        keras.layers.Lambda.from_config(layer.get_config())


def test_graph_is_in_the_order_of_execution():
    inputs = keras.Input((2,))
    first, second = keras.layers.Dense(2), keras.layers.Dense(2)
    model = keras.Model(inputs, second(first(inputs)) + inputs)
    order = [node.operation for node in private.graph_of(model).nodes]
    assert order.index(first) < order.index(second)


def test_a_graph_runs_with_other_operations():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, {"out": keras.layers.ReLU()(inputs)})
    new_inputs = keras.Input((1,))
    outputs = private.run_graph(model, new_inputs, lambda _: lambda x: x * 3.0)
    tripled = keras.Model(new_inputs, outputs)
    result = tripled.predict(-np.ones((1, 1)), verbose=0)
    assert result["out"].tolist() == [[-3.0]]


def test_operations_of_ops_have_a_kind_and_layers_none():
    inputs = keras.Input((2,))
    graph = private.graph_of(keras.Model(inputs, keras.ops.relu(inputs) + 1))
    kinds = [private.operation_kind(node.operation) for node in graph.nodes]
    assert kinds == [None, "Relu", "Add"]


@pytest.mark.parametrize(
    ("clipping", "expected"),
    [
        ({"clipnorm": 1.0}, [[0.6, -0.8], [0.5, 0.0]]),
        ({"global_clipnorm": 5.0}, [[2.98511, -3.98015], [0.49752, 0.0]]),
        ({"clipvalue": 0.4}, [[0.4, -0.4], [0.4, 0.0]]),
        ({}, [[3.0, -4.0], [0.5, 0.0]]),
    ],
)
def test_gradients_are_clipped_as_in_an_update(clipping, expected):
    optimizer = keras.optimizers.SGD(**clipping)
    grads = [
        keras.ops.convert_to_tensor(np.array(g, "float32"))
        for g in ([3.0, -4.0], [0.5, 0.0])
    ]
    clipped = private.clipped_gradients(optimizer, grads)
    for ours, theirs in zip(clipped, expected, strict=True):
        ours = keras.ops.convert_to_numpy(ours)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_state_is_dropped_but_the_name():
    optimizer = keras.optimizers.Optimizer(0.1, clipnorm=1.0, name="mine")
    private.drop_state(optimizer)
    assert optimizer.name == "mine"
    for name in ("clipnorm", "learning_rate", "iterations"):
        assert not hasattr(optimizer, name)
    assert private.added_variables(optimizer) == []
    added = optimizer.add_variable((2,))
    assert [id(v) for v in private.added_variables(optimizer)] == [id(added)]


class OwnApply(keras.optimizers.SGD):
    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)


class OwnClipping(keras.optimizers.SGD):
    def _clip_gradients(self, grads):
        return grads


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (keras.optimizers.SGD, None),
        (OwnApply, "apply"),
        (OwnClipping, "_clip_gradients"),
    ],
)
def test_methods_that_may_change_gradients_are_told(cls, expected):
    name = private.changed_gradient_method(cls(), keras.optimizers.SGD)
    assert name == expected


def test_path_is_that_of_another_variable():
    model = built_model()
    kernel = model.layers[0].kernel
    copy = private.with_path(keras.Variable([1.0], name="kernel"), kernel.path)
    assert (copy.name, copy.path) == (kernel.name, kernel.path)


@pytest.mark.thorough
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_weight_stands_for_its_numbers(mode):
    layer = built_model().layers[0]
    before = layer.get_weights()[0]
    layer.quantize(mode)
    quantized = next(v for v in layer.weights if v.name == "kernel")
    after = keras.ops.convert_to_numpy(private.dequantized(layer, quantized))
    np.testing.assert_allclose(after, before, atol=np.abs(before).max() / 7)


def test_weight_that_is_not_quantized_stands_for_itself():
    layer = built_model().layers[0]
    assert all(private.dequantized(layer, v) is None for v in layer.weights)


def penalized_model():
    layer = keras.layers.Dense(
        1, kernel_regularizer="l2", activity_regularizer="l1"
    )
    inner = keras.Sequential([keras.Input((2,)), layer])
    model = keras.Sequential([keras.Input((2,)), inner])
    model.compile("sgd", "mse")
    return model, inner


@pytest.mark.parametrize("reader", ["outer", "inner"])
def test_terms_of_added_losses_are_noted_when_losses_are_read(reader):
    model, inner = penalized_model()
    noted = []
    private.watch_added_losses(model, noted.append)
    model(np.ones((2, 2), "float32"))
    noted.clear()
    losses = (model if reader == "outer" else inner).losses
    (term,) = noted[0]
    assert any(loss is term for loss in losses)
    noted.clear()
    private.unwatch_added_losses(model)
    assert len(model.losses) == 2
    assert noted == []


@pytest.mark.parametrize("read", [False, True])
def test_losses_that_are_collected_know_whether_they_were_read(read):
    """On JAX they are collected; elsewhere there are none."""
    lists = []

    class OwnLoss(keras.Model):
        def compute_loss(self, x, y, y_pred, *args, **kwargs):
            with private.collected_losses(self) as losses:
                lists.append(losses)
                loss = keras.ops.mean(y_pred)
                return loss + sum(self.losses) if read else loss

    inputs = keras.Input((2,))
    model = OwnLoss(inputs, penalized_model()[1](inputs))
    model.compile("sgd", "mse", run_eagerly=True)
    model.evaluate(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    is_jax = keras.backend.backend() == "jax"
    assert len(lists[-1]) == (2 if is_jax else 0)
    assert lists[-1].were_read == (read and is_jax)


def test_new_values_are_kept_where_a_step_hands_them_on():
    variable = keras.Variable(0.0)
    is_jax = keras.backend.backend() == "jax"
    assert private.can_assign(variable) == (not is_jax)
    with keras.StatelessScope(state_mapping=[(variable, keras.ops.ones(()))]):
        assert private.can_assign(variable)


# Copies of layers, and calls inside of them


class Pair(keras.layers.Layer):
    """A layer with a weight of its own and layers inside, without a config."""

    def __init__(self, held):
        super().__init__()
        self.held = held
        self.inner = [keras.layers.Dense(3, name="a")]
        self.last = keras.layers.Dense(2, name="b")

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), name="scale")
        self.inner[0].build(shape)
        self.last.build((None, 3))

    def call(self, x):
        return self.last(self.inner[0](x) * self.scale)


def test_a_clone_has_the_same_values_in_variables_of_its_own():
    inputs = keras.Input((4,))
    layer = Pair(object())
    keras.Model(inputs, layer(inputs))
    copy = private.cloned(layer)
    x = np.ones((2, 4), "float32")
    before = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(copy(x)), before)
    assert [v.path for v in copy.weights] == [v.path for v in layer.weights]
    copy.set_weights([0 * w for w in copy.get_weights()])
    assert not np.any(keras.ops.convert_to_numpy(copy(x)))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), before)


def test_a_clone_can_be_called_in_another_model_and_trained():
    inputs = keras.Input((4,))
    layer = Pair(object())
    keras.Model(inputs, layer(inputs))
    copy = private.cloned(layer)
    new_inputs = keras.Input((4,))
    model = keras.Model(new_inputs, copy(new_inputs))
    assert model.layers[1] is copy
    model.compile("sgd", "mse")
    before = layer.get_weights()
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_clone_of_a_model_is_a_model_by_itself():
    model = keras.Sequential([keras.Input((4,)), Pair(object())])
    model.compile("adam", "mse")
    copy = private.cloned(model)
    assert type(copy) is keras.Sequential
    copy.set_weights([0 * w for w in copy.get_weights()])
    assert any(np.any(w) for w in model.get_weights())
    assert not np.any(copy.predict(np.ones((2, 4)), verbose=0))


def test_pickling_is_as_before_after_a_clone():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    reduced = layer.__reduce__()[0]
    private.cloned(layer)
    assert layer.__reduce__()[0] == reduced


def test_an_expanded_layer_leaves_the_calls_inside_it():
    class Two(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.one = keras.layers.Dense(3)
            self.other = keras.layers.Dense(4)

        def call(self, x):
            return self.other(self.one(x)) + 1.0

    layer = Two()
    layer(np.ones((1, 5)))
    replaced = keras.layers.Dense(3, name="replaced")
    inputs = keras.Input((5,))
    with private.expanded(
        layer,
        lambda part: replaced if part is layer.one else None,
        symbolic=lambda value: value,
    ):
        outputs = layer(inputs)
    operations = keras.Model(inputs, outputs).operations
    assert replaced in operations
    assert layer.other in operations
    assert layer not in operations
    assert layer.one not in operations
    assert keras.Model(inputs, layer(inputs)).layers[1] is layer


class Placed(keras.layers.Layer):
    """Adds a table of positions, up to the length, and a causal mask."""

    def build(self, shape):
        self.table = self.add_weight(shape=(20, 5), name="table")

    def call(self, x, training=None):
        batch, length, _ = keras.ops.shape(x)
        places = keras.ops.arange(length)
        mask = keras.ops.cast(places[:, None] >= places[None, :], x.dtype)
        mask = keras.ops.broadcast_to(mask, (batch, length, length))
        x = x + self.table[: x.shape[1]]
        x = keras.ops.reshape(keras.ops.matmul(mask, x), (batch, length, 5, 1))
        return x * 2.0 if training else x


def test_sizes_that_are_open_stay_open_in_an_expanded_layer():
    layer = Placed()
    layer(np.ones((1, 3, 5)))
    x = keras.Input((None, 5))
    row = keras.layers.Embedding(1, 100)

    def symbolic(variable):
        assert variable is layer.table
        zero = keras.ops.sum(keras.ops.zeros_like(x, dtype="int32"))
        return keras.ops.reshape(row(zero), (20, 5))

    with private.expanded(layer, lambda part: None, symbolic):
        model = keras.Model(x, layer(x))
    row.embeddings.assign(np.reshape(layer.table, (1, 100)))
    assert isinstance(layer.table, keras.Variable)
    for shape in (2, 7, 5), (3, 4, 5):
        given = np.random.default_rng(0).normal(size=shape).astype("float32")
        expected = keras.ops.convert_to_numpy(layer(given))
        found = keras.ops.convert_to_numpy(model(given))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "alike"), [("Placed", False), ("Scaled", True)]
)
def test_code_that_does_more_in_training_is_told(cls, alike):
    layer = {"Placed": Placed, "Scaled": Scaled}[cls]()
    model = keras.Sequential([keras.Input((3, 5)), layer])
    inputs = keras.KerasTensor((2, 3, 5))
    (call,) = [
        call
        for call in private.traced_graph(model, inputs).composites
        if call.operation is layer
    ]
    assert private.trains_as_it_predicts(call) == alike


def test_the_type_in_which_a_variable_is_stored():
    class Typed(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(2,), name="scale")

        def call(self, x):
            seen.append((self.scale.dtype, private.stored_dtype(self.scale)))
            return x

    seen = []
    Typed(dtype="mixed_float16")(np.ones((1, 2)))
    assert seen[-1] == ("float16", "float32")


def test_a_forgotten_call_is_not_in_the_layer():
    layer = keras.layers.Dense(3)
    layer(keras.Input((5,)))
    private.forget_last_call(layer)
    outputs = layer(keras.Input((5,)))
    assert layer.output is outputs


def test_layers_are_made_without_values():
    made = []

    def counted(shape, dtype=None):
        made.append(shape)
        return keras.ops.zeros(shape, dtype)

    def model():
        x = keras.Input((4,))
        y = keras.layers.Dense(3, kernel_initializer=counted)(x)
        return keras.Model(x, keras.layers.BatchNormalization()(y))

    with private.without_values():
        shapes = [tuple(v.shape) for v in model().weights]
        made.clear()  # a symbolic call may ask for a placeholder
    assert shapes == [(4, 3), *[(3,)] * 5]
    later = model()  # as ever, with no memory of the others
    assert made == [(4, 3)]
    assert [tuple(v.shape) for v in later.weights] == shapes
    assert later(np.ones((2, 4))).shape == (2, 3)


class Scaled(keras.Layer):
    """A layer of one's own, with a layer and a weight of its own."""

    def __init__(self):
        super().__init__(name="scaled")
        self.dense = keras.layers.Dense(3, name="dense")

    def build(self, shape):
        self.dense.build(shape)
        self.scale = self.add_weight(shape=(3,), name="scale")
        self.others = [self.add_weight(shape=(3,), name="other")]

    def call(self, x, training=None):
        self.last = self.dense(x)
        return self.last * self.scale + self.others[0]


def traced(layer, *shape):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    return private.traced_graph(model, keras.KerasTensor((2, *shape)))


def kinds_of(graph):
    """The calls, without those by which a model takes its inputs."""
    kinds = [type(call.operation).__name__ for call in graph.calls]
    return [kind for kind in kinds if kind != "ConvertToTensor"]


def test_a_trace_shows_calls_and_weights_inside_of_a_layer():
    layer = Scaled()
    graph = traced(layer, 4)
    assert sorted(kinds_of(graph)) == [
        *("Add", "Dense", "Multiply", "Weight", "Weight")
    ]
    dense = next(c for c in graph.calls if c.operation is layer.dense)
    assert [owner.name for owner in dense.owners][1:] == ["scaled"]
    assert dense.training is False
    assert [c.operation for c in graph.composites][:1] == [layer]
    read = [
        call.operation.variable
        for call in graph.calls
        if isinstance(call.operation, private.Weight)
    ]
    assert {v.name for v in read} == {"scale", "other"}


def test_a_traced_graph_computes_what_the_model_does():
    layer = Scaled()
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    graph = private.traced_graph(model, keras.KerasTensor((2, 4)))
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    values = {id(graph.inputs[0]): keras.ops.convert_to_tensor(x)}
    for call in graph.calls:
        args, kwargs = call.arguments.fill_in(values)
        kwargs.pop("training", None)
        outputs = keras.tree.flatten(call.operation.call(*args, **kwargs))
        for tensor, value in zip(call.output_tensors, outputs, strict=True):
            values[id(tensor)] = value
    results = map(
        keras.ops.convert_to_numpy, (values[id(graph.outputs[0])], model(x))
    )
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_a_trace_leaves_no_trace():
    layer = Scaled()
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    attributes, nodes = dict(vars(layer)), len(layer.dense._inbound_nodes)
    patched = (
        keras.Layer.symbolic_call,
        keras.Operation.symbolic_call,
        keras.Variable.value,
    )
    private.traced_graph(model, keras.KerasTensor((2, 4)))
    assert vars(layer) == attributes
    assert len(layer.dense._inbound_nodes) == nodes
    assert patched == (
        keras.Layer.symbolic_call,
        keras.Operation.symbolic_call,
        keras.Variable.value,
    )
    # Symbolic calls make nodes of Keras's own again.
    assert layer.dense(inputs)._keras_history.operation is layer.dense


def test_a_trace_knows_all_sizes():
    """Keras's own rule for the shapes of an EinsumDense forgets some."""
    layer = keras.layers.EinsumDense("abc,cd->abd", (None, 3))
    assert traced(layer, 5, 4).outputs[0].shape == (2, 5, 3)


class Branching(Scaled):
    def call(self, x):
        return self.dense(x) if keras.ops.mean(x) > 0 else x[..., :3]


def test_what_cannot_be_traced_is_one_call_with_a_reason():
    layer = Branching()
    # On the symbolic tensors of a model, too, such code fails.
    spec = keras.KerasTensor((2, 3))
    layer.compute_output_spec = lambda *args, **kwargs: spec
    layer.build((None, 3))

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = layer
            self.after = keras.layers.Dense(2)

        def call(self, x):
            return self.after(self.inner(x))

    model = Model()
    model.after.build((None, 3))
    model.built = True
    graph = private.traced_graph(model, keras.KerasTensor((2, 3)))
    assert kinds_of(graph) == ["Branching", "Dense"]
    assert "boolean" in graph.calls[0].reason
    assert graph.calls[1].reason is None
    assert {id(v) for v in layer.variables} <= set(graph.unseen)


class Hidden(Scaled):
    def call(self, x):
        (kernel,) = (v for v in self.dense.variables if v.name == "kernel")
        return self.dense(x) * keras.ops.sum(kernel)


def test_a_variable_that_is_read_out_of_sight_is_noted():
    layer = Hidden()
    graph = traced(layer, 4)
    assert set(graph.unseen) == {id(layer.dense.kernel)}


class OfInside(Scaled):
    def call(self, x):
        return self.dense(x) * keras.ops.sum(self.dense.kernel)


def test_weights_of_layers_inside_are_read_by_calls():
    layer = OfInside()
    graph = traced(layer, 4)
    assert "Weight" in kinds_of(graph)
    assert not graph.unseen
    assert isinstance(layer.dense.kernel, keras.Variable)


class Told(keras.Layer):
    """What it computes depends on arguments of each kind."""

    def __init__(self, factor=1.0, axis=-1, activation="relu", rate=0.5):
        super().__init__()
        self.factor, self.axis = factor, axis
        self.dense = keras.layers.Dense(3, activation=activation)
        self.drop = keras.layers.Dropout(rate)

    def build(self, shape):
        self.dense.build(shape)
        self.scale = self.add_weight(shape=(3,))

    def call(self, x, training=None):
        x = self.dense(x) * self.factor * self.scale
        x = keras.ops.flip(x, axis=self.axis)
        return self.drop(x, training=training) if training else x


@pytest.mark.parametrize(
    ("changed", "alike"),
    [
        ({}, True),
        ({"factor": 2.0}, False),
        ({"axis": 0}, False),
        ({"activation": "relu6"}, False),
        ({"rate": 0.4}, False),
    ],
)
def test_copies_are_alike_that_make_the_same_calls(changed, alike):
    layer, copy = Told(), Told(**changed)
    for each in (layer, copy):
        each.build((None, 4))
    x = keras.KerasTensor((2, 4))
    call = private.call_in_wrapper(layer, x, [keras.KerasTensor((2, 3))])
    assert private.is_alike(call, copy) == alike
    assert len(layer.variables) == len(copy.variables)


def test_copies_of_what_cannot_be_traced_are_alike_in_their_attributes():
    x = keras.KerasTensor((2, 3))
    for steps, alike in ((3, True), (4, False)):
        layer, copy = Branching(), Branching()
        for each in (layer, copy):
            each.build((None, 3))
        layer.steps, copy.steps = 3, steps
        call = private.call_in_wrapper(layer, x, [x])
        assert private.is_alike(call, copy) == alike


def test_other_threads_build_models_during_a_trace():
    seen = []

    class Waiting(Scaled):
        def call(self, x):
            def build():
                inputs = keras.Input((2,))
                dense = keras.layers.Dense(1)
                seen.append(keras.Model(inputs, dense(inputs)))

            thread = threading.Thread(target=build)
            thread.start()
            thread.join()
            return self.dense(x)

    graph = traced(Waiting(), 4)
    assert kinds_of(graph) == ["Dense"]
    assert len(private.graph_of(seen[-1]).nodes) == 2


def test_functions_of_one_tensor_are_traced():
    graph = private.traced_function(
        lambda x: keras.ops.tanh(x) * 2.0, keras.KerasTensor((2, 3))
    )
    assert kinds_of(graph) == ["Tanh", "Multiply"]
    assert private.traced_function(bool, keras.KerasTensor((2, 3))) is None


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.MultiHeadAttention(2, 3),
        keras.layers.GroupQueryAttention(3, 4, 2),
    ],
)
def test_attention_layers_hold_their_projections(layer):
    x = keras.Input((5, 8))
    layer(x, x)
    kernels = {
        getattr(layer, attribute).kernel.path
        for name, attribute in private.ATTENTION_PROJECTIONS.items()
        if name != "gate"
    }
    assert kernels == {w.path for w in layer.weights if w.ndim == 3}
    assert not private.uses_flash_attention(layer)


def test_flash_attention_is_told():
    layer = keras.layers.MultiHeadAttention(2, 3, flash_attention=True)
    assert private.uses_flash_attention(layer)
