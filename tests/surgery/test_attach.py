"""Regularizers on a model that is already built: act, and are saved."""

import keras
import numpy as np
import pytest
from keras import layers

import kreg
from kreg.binding import is_bound

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


def own_regularizer(variable):
    """The regularizer that the user gave to a weight, bound or not."""
    return getattr(variable.regularizer, "penalty", variable.regularizer)


def network():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1, name="last"),
        ],
        name="net",
    )


def fit(model, epochs=1):
    return model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0)


def regularized(model):
    """The paths of the weights with a regularizer, each with it."""
    return {
        v.path: own_regularizer(v)
        for v in model.weights
        if v.regularizer is not None
    }


def saved_and_loaded(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    return keras.models.load_model(path)


def reprs(model):
    """One for each weight: a loaded model has other paths."""
    return [repr(own_regularizer(v)) for v in model.weights]


def state_of(model):
    configs = repr(model.get_config())
    weights = [id(v.regularizer) for v in model.weights]
    return configs, weights, sorted(vars(model)), is_bound(model)


# What acts.


def test_regularizer_alone_goes_on_all_kernels():
    model, penalty = network(), kreg.L1(0.1)
    kreg.attach(model, penalty)
    assert regularized(model) == {
        "net/hidden/kernel": penalty,
        "net/last/kernel": penalty,
    }


@pytest.mark.parametrize("optimizer", ["sgd", "proximal"])
def test_acts_at_the_next_fit_of_a_trained_model(optimizer):
    model = network()
    inner = keras.optimizers.SGD(0.01)
    model.compile(
        kreg.ProximalOptimizer(inner) if optimizer == "proximal" else inner,
        "mse",
    )
    fit(model)
    kreg.attach(model, kreg.L1(10.0))
    before = [np.abs(w).sum() for w in (kernel(model, 0), kernel(model, -1))]
    history = fit(model).history
    assert history["penalty"][0] > 0
    after = [np.abs(w).sum() for w in (kernel(model, 0), kernel(model, -1))]
    assert after[0] < before[0]
    assert after[1] < before[1]
    if optimizer == "proximal":
        assert (kernel(model, 0) == 0.0).any()


def kernel(model, index):
    return keras.ops.convert_to_numpy(model.layers[index].kernel)


def test_penalty_in_the_logs_is_that_of_the_formula():
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model)
    kreg.attach(model, kreg.L1(0.5))
    expected = 0.5 * sum(np.abs(kernel(model, i)).sum() for i in (0, -1))
    assert fit(model).history["penalty"][0] == pytest.approx(expected, 1e-5)


def test_regularizer_of_keras_acts_at_the_next_fit():
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    without = fit(model).history["loss"][0]
    kreg.attach(model, keras.regularizers.L2(0.5))
    expected = 0.5 * sum((kernel(model, i) ** 2).sum() for i in (0, -1))
    logs = fit(model).history
    assert logs["penalty"][0] == pytest.approx(expected, 1e-5)
    assert logs["data_loss"][0] == pytest.approx(without, rel=0.05)


def test_one_object_on_many_weights_is_steered_as_one():
    model, penalty = network(), kreg.L1(0.1)
    kreg.attach(model, [("hidden", penalty), ("last", penalty)])
    before = sum(kreg.penalties(model).values())
    penalty.multiplier = 3.0
    assert sum(kreg.penalties(model).values()) == pytest.approx(3 * before)


def test_schedule_follows_the_optimizer():
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.attach(model, kreg.L1(kreg.schedules.LinearRamp(0.0, 1.0, steps=4)))
    size = sum(np.abs(kernel(model, i)).sum() for i in (0, -1))
    penalties = fit(model, epochs=2).history["penalty"]
    np.testing.assert_allclose(penalties, [0.375 * size, size], rtol=1e-5)


# What is selected.


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (lambda m: m.layers[0], ["net/hidden/kernel"]),
        (lambda m: m, ["net/hidden/kernel", "net/last/kernel"]),
        (
            lambda m: layers.Dense,
            ["net/hidden/kernel", "net/last/kernel"],
        ),
        (lambda m: "last", ["net/last/kernel"]),
        (lambda m: "net/hid*", ["net/hidden/kernel"]),
        (lambda m: "*", ["net/hidden/kernel", "net/last/kernel"]),
        (lambda m: "*/bias", ["net/hidden/bias", "net/last/bias"]),
        (lambda m: "*gamma", ["net/norm/gamma"]),
        (lambda m: m.layers[-1].bias, ["net/last/bias"]),
        (
            lambda m: lambda v: v.shape == (8,),
            [
                "net/hidden/bias",
                "net/norm/gamma",
                "net/norm/beta",
            ],
        ),
    ],
)
def test_selector(select, expected):
    model = network()
    kreg.attach(model, [(select(model), kreg.L1(0.1))])
    assert list(regularized(model)) == expected


def test_mapping_is_read_in_its_order():
    model, first, second = network(), kreg.L1(0.1), kreg.L2(0.2)
    kreg.attach(model, {layers.Dense: first, model.layers[-1]: second})
    assert regularized(model) == {
        "net/hidden/kernel": first,
        "net/last/kernel": second,
    }


@pytest.mark.parametrize("exception_is_last", [True, False])
def test_last_match_counts(exception_is_last):
    model, general, special = network(), kreg.L1(0.1), kreg.L2(0.2)
    rules = [("*", general), ("last", special)]
    kreg.attach(model, rules if exception_is_last else rules[::-1])
    winner = special if exception_is_last else general
    assert regularized(model)["net/last/kernel"] is winner


def test_none_excludes():
    model = network()
    kreg.attach(model, [("*", kreg.L1(0.1)), ("last", None)])
    assert list(regularized(model)) == ["net/hidden/kernel"]


def test_none_takes_off_what_was_there(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1)),
        ]
    )
    changes = kreg.attach(model, [("*", None)])
    assert len(changes) == 1
    assert not regularized(model)
    assert not regularized(saved_and_loaded(model, tmp_path))


@pytest.mark.parametrize("first", [kreg.L1(0.3), keras.regularizers.L1(0.3)])
def test_replaces_what_was_there(first, tmp_path):
    model, second = network(), kreg.L2(0.2)
    kreg.attach(model, first)
    (hidden, _) = kreg.attach(model, second).changes
    assert hidden.before is first
    assert hidden.after is second
    assert set(regularized(model).values()) == {second}
    loaded = saved_and_loaded(model, tmp_path)
    assert reprs(loaded) == reprs(model)


def test_frozen_layers_are_left_alone():
    model = network()
    model.layers[0].trainable = False
    kreg.attach(model, kreg.L1(0.1))
    assert list(regularized(model)) == ["net/last/kernel"]


def test_frozen_weight_that_is_named_is_taken():
    model = network()
    model.layers[0].trainable = False
    kreg.attach(model, [(model.layers[0].kernel, kreg.L1(0.1))])
    assert list(regularized(model)) == ["net/hidden/kernel"]
    assert kreg.bind(model)
    assert model.losses == []


def test_statistics_of_normalizations_are_no_weights():
    model = network()
    with pytest.raises(ValueError, match="selects nothing"):
        kreg.attach(model, [(model.layers[1].moving_mean, kreg.L1(0.1))])
    kreg.attach(model, [(lambda v: True, kreg.L1(0.1))])
    assert "net/norm/moving_mean" not in regularized(model)


def test_name_of_a_regularizer_is_that_of_keras():
    model = network()
    kreg.attach(model, "l2")
    for regularizer in regularized(model).values():
        assert isinstance(regularizer, keras.regularizers.L2)


def test_function_acts():
    model = network()
    kreg.attach(model, [("last", lambda w: 2.0 * keras.ops.sum(w * w))])
    expected = 2.0 * (kernel(model, -1) ** 2).sum()
    loss = float(keras.ops.convert_to_numpy(sum(model.losses)))
    assert loss == pytest.approx(expected, rel=1e-5)


# What is saved.


def dense_kinds():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(4, 3, name="separable")(x)
    x = layers.Conv2DTranspose(2, 3, name="transpose")(x)
    x = layers.Reshape((16, 2))(x)
    x = layers.Conv1D(4, 3, name="conv1")(x)
    x = layers.EinsumDense("abc,cd->abd", (None, 3), name="einsum")(x)
    return keras.Model(inputs, x)


def recurrent():
    inputs = keras.Input((5, 3))
    x = layers.LSTM(4, return_sequences=True, name="lstm")(inputs)
    x = layers.GRU(4, return_sequences=True, name="gru")(x)
    cells = [layers.SimpleRNNCell(3), layers.LSTMCell(3)]
    return keras.Model(inputs, layers.RNN(cells, name="stack")(x))


def bidirectional():
    inputs = keras.Input((5, 3))
    outputs = layers.Bidirectional(layers.LSTM(4), name="both")(inputs)
    return keras.Model(inputs, outputs)


def convolutional_recurrent():
    inputs = keras.Input((3, 5, 5, 2))
    return keras.Model(inputs, layers.ConvLSTM2D(2, 3, name="cl")(inputs))


def distributed():
    inputs = keras.Input((5, 3))
    dense = layers.TimeDistributed(layers.Dense(4), name="time")
    return keras.Model(inputs, dense(inputs))


def normalized():
    inputs = keras.Input((3,))
    dense = layers.SpectralNormalization(layers.Dense(4), name="spectral")
    return keras.Model(inputs, dense(inputs))


def attention():
    inputs = keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, name="heads")(inputs, inputs)
    x = layers.GroupQueryAttention(4, 4, 2, name="groups")(x, x)
    return keras.Model(inputs, x)


def nested():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="a"), layers.Dense(4)],
        name="inner",
    )
    inputs = keras.Input((4,))
    middle = keras.Model(inputs, inner(inputs), name="middle")
    outputs = layers.Dense(1, name="head")(middle(inputs))
    return keras.Model(inputs, outputs)


def shared():
    inputs = keras.Input((4,))
    layer = layers.Dense(4, name="twice")
    return keras.Model(inputs, layer(layer(inputs)))


MODELS = {
    "dense_kinds": (dense_kinds, 7),
    "recurrent": (recurrent, 8),
    "bidirectional": (bidirectional, 4),
    "convolutional_recurrent": (convolutional_recurrent, 2),
    "distributed": (distributed, 1),
    "normalized": (normalized, 1),
    "attention": (attention, 8),
    "nested": (nested, 3),
    "shared": (shared, 1),
}


@pytest.mark.parametrize("kind", MODELS)
def test_survives_saving(kind, tmp_path):
    build, count = MODELS[kind]
    model = build()
    kreg.attach(model, kreg.L1(0.25))
    assert reprs(model).count("L1(l1=0.25)") == count
    assert set(reprs(model)) <= {"L1(l1=0.25)", "None"}
    loaded = saved_and_loaded(model, tmp_path)
    assert reprs(loaded) == reprs(model)
    ours, theirs = sum(model.losses), sum(loaded.losses)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
    )


@pytest.mark.parametrize("kind", MODELS)
def test_names_and_outputs_stay(kind):
    model = MODELS[kind][0]()
    x = RNG.normal(size=(2, *model.input_shape[1:])).astype("float32")
    before = model.predict(x, verbose=0)
    names = [v.path for v in model.weights]
    kreg.attach(model, kreg.L1(0.25))
    assert [v.path for v in model.weights] == names
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)


def test_named_bias_embedding_and_slope_survive_saving(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Embedding(5, 4, name="words"),
            layers.PReLU(name="slope"),
            layers.LSTM(3, name="lstm"),
        ],
        name="net",
    )
    rules = [
        ("*/embeddings", kreg.GroupLasso(0.1)),
        ("*/alpha", kreg.L1(0.2)),
        ("*/bias", kreg.L2(0.3)),
        ("*/recurrent_kernel", kreg.L2(0.4)),
    ]
    kreg.attach(model, rules)
    assert len(regularized(model)) == 4
    assert reprs(saved_and_loaded(model, tmp_path)) == reprs(model)


def test_part_of_an_attention_survives_saving(tmp_path):
    model = attention()
    kreg.attach(model, [("heads/query", kreg.L1(0.1))])
    assert list(regularized(model)) == ["heads/query/kernel"]
    assert reprs(saved_and_loaded(model, tmp_path)) == reprs(model)


@keras.saving.register_keras_serializable(package="attach_tests")
class Scaled(layers.Layer):
    """A layer of one's own, whose weight is not Keras's."""

    def __init__(self, kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1],),
            name="kernel",
            regularizer=self.kernel_regularizer,
        )
        self.plain = self.add_weight(shape=(shape[-1],), name="plain")

    def call(self, x):
        return x * self.kernel + self.plain

    def get_config(self):
        regularizer = keras.regularizers.serialize(self.kernel_regularizer)
        return {**super().get_config(), "kernel_regularizer": regularizer}


def custom():
    return keras.Sequential([keras.Input((4,)), Scaled(name="own")], name="net")


def test_layer_of_ones_own_saves_what_its_config_has(tmp_path):
    model = custom()
    kreg.attach(model, kreg.L1(0.1))
    loaded = saved_and_loaded(model, tmp_path)
    assert reprs(loaded) == ["L1(l1=0.1)", "None"]


def test_what_no_layer_saves_is_in_the_file(tmp_path):
    model = custom()
    changes = kreg.attach(model, [("*/plain", kreg.L1(0.1))])
    assert list(regularized(model)) == ["net/own/plain"]
    assert changes.changes[0].attribute is None
    assert "(.keras file)" in str(changes)
    assert reprs(saved_and_loaded(model, tmp_path)) == reprs(model)


def test_layers_of_a_subclassed_model_act():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1, name="inside")

        def call(self, x):
            return self.dense(x)

    model = Model()
    model(X)
    kreg.attach(model, kreg.L1(0.1))
    model.compile("sgd", "mse")
    assert fit(model).history["penalty"][0] > 0


# What is wrong changes nothing.


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        (3, TypeError, "`rules` must be a regularizer"),
        (layers.Dense(1), TypeError, "`rules` must be a regularizer"),
        (("last", kreg.L1()), TypeError, "put a single pair into a list"),
        ([("last", 0.1)], TypeError, r"regularizer, such as.*Received: 0\.1"),
        ([("last", layers.Dense(1))], TypeError, "regularizer, such as"),
        ([("last", kreg.L1)], TypeError, "regularizer, such as"),
        ([(3, kreg.L1())], TypeError, "must select weights by a layer"),
        ([(int, kreg.L1())], TypeError, "must select weights by a layer"),
        ([("hiden", kreg.L1())], ValueError, "'hidden'.*Received: 'hiden'"),
        ([("*/kernal", kreg.L1())], ValueError, "'net/last/kernel'"),
        ([(layers.LSTM, kreg.L1())], ValueError, "selects nothing"),
        ([("norm", kreg.L1())], ValueError, "selects kernels"),
        ([(lambda v: False, kreg.L1())], ValueError, "selects nothing"),
        ([(layers.Dense(1), kreg.L1())], ValueError, "not in `net`"),
        ([("last", "nonsense")], ValueError, "nonsense"),
        (
            [("*/bias", kreg.GroupLasso(0.1, groups=(1,)))],
            ValueError,
            "net/hidden/bias",
        ),
    ],
)
@pytest.mark.parametrize("bound", [True, False])
def test_wrong_rule_changes_nothing(rules, error, message, bound):
    model = network()
    model.compile("sgd", "mse")
    kreg.attach(model, [("hidden", keras.regularizers.L1(0.1))])
    if not bound:
        kreg.binding.unbind(model)
    before = state_of(model)
    pairs = rules if isinstance(rules, list) else None
    if pairs is not None:
        rules = [("hidden", kreg.L2(0.5)), *pairs]
    with pytest.raises(error, match=message):
        kreg.attach(model, rules)
    assert state_of(model) == before


def test_model_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        kreg.attach(keras.Sequential([layers.Dense(1)]), kreg.L1(0.1))


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"`model` must be a `keras\.Model`"):
        kreg.attach(layers.Dense(1), kreg.L1(0.1))


# The record.


def test_record_tells_what_was_and_is():
    model, penalty = network(), kreg.L1(0.1)
    changes = kreg.attach(model, [("last", penalty)])
    (change,) = changes.changes
    assert change.path == "net/last/kernel"
    assert change.layer == "net/last"
    assert change.attribute == "kernel_regularizer"
    assert change.before is None
    assert change.after is penalty
    assert changes.to_dict() == {
        "changes": [
            {
                "path": "net/last/kernel",
                "layer": "net/last",
                "attribute": "kernel_regularizer",
                "before": None,
                "after": "L1(l1=0.1)",
                "in_file": False,
            }
        ]
    }
    assert "net/last/kernel  kernel_regularizer" in str(changes)


def test_same_rules_again_change_nothing():
    model, rules = network(), [("*", kreg.L1(0.1))]
    assert len(kreg.attach(model, rules)) == 2
    assert len(kreg.attach(model, rules)) == 0


# With what else kreg does.


def test_frozen_support_stays_unpenalized():
    model = network()
    kreg.attach(model, kreg.L1(0.1))
    kreg.freeze_support(model)
    kreg.attach(model, kreg.L2(0.5))
    assert set(kreg.penalties(model).values()) == {0.0}


def test_linter_finds_no_fault_in_the_attributes():
    model = network()
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    kreg.attach(model, [("*", kreg.L1(1e-3)), ("*/bias", kreg.L2(1e-3))])
    assert [fault for fault in kreg.check(model) if "saved" in str(fault)] == []


def test_pretrained_application():
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), classes=2
    )
    for layer in model.layers[:50]:
        layer.trainable = False
    frozen = {id(v) for layer in model.layers[:50] for v in layer.weights}
    changes = kreg.attach(model, kreg.L1(1e-4))
    expected = {
        v.path
        for v in model.weights
        if "kernel" in v.name and id(v) not in frozen
    }
    assert {change.path for change in changes.changes} == expected
    assert len(model.losses) == len(expected)


@pytest.mark.tensorflow
def test_under_a_strategy(mirrored_strategy):
    with mirrored_strategy.scope():
        model = network()
        model.compile(kreg.ProximalOptimizer(keras.optimizers.SGD(0.0)), "mse")
    kreg.attach(model, kreg.L1(0.5))
    expected = 0.5 * sum(np.abs(kernel(model, i)).sum() for i in (0, -1))
    assert fit(model).history["penalty"][0] == pytest.approx(expected, 1e-5)
