"""A model with nothing of kreg left, that Keras alone can load."""

import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers
from thorough import few_of

import kreg
from kreg.binding import is_bound
from kreg.surgery.stripped_copy import stripped_copy, without_kreg
from kreg.surgery.support import KeepSupport

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


def ramp():
    return kreg.schedules.LinearRamp(0.0, 0.01, steps=8)


def regularized_layers():
    return [
        layers.Dense(
            6,
            activation="relu",
            kernel_regularizer=kreg.L1(ramp()),
            bias_regularizer=kreg.L2(0.01),
            activity_regularizer=kreg.L1(0.001),
            name="hidden",
        ),
        layers.Dense(
            6, kernel_regularizer=keras.regularizers.L2(0.01), name="plain"
        ),
        layers.Dense(1, kernel_regularizer=kreg.GroupLasso(0.01), name="last"),
    ]


def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((4,)), *regularized_layers()], name="net"
    )


OPTIMIZERS = {
    "proximal": lambda: kreg.ProximalOptimizer(keras.optimizers.Adam(0.01)),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        kreg.ProximalOptimizer(keras.optimizers.Adam(0.01)), initial_scale=8.0
    ),
    "several": lambda: kreg.ProximalOptimizer(
        keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(
                keras.optimizers.Adam(0.01),
                {".*/bias": keras.optimizers.SGD(0.01, momentum=0.5)},
            )
        )
    ),
    "scheduled": lambda: kreg.ProximalOptimizer(
        keras.optimizers.Adam(kreg.schedules.LinearRamp(0.01, 0.02, steps=10))
    ),
    "plain": lambda: keras.optimizers.Adam(
        kreg.schedules.LinearRamp(0.01, 0.02, steps=10)
    ),
}


def trained(optimizer="proximal", model=None):
    model = model or network()
    # By objects, because Keras does not load their names from HDF5 files.
    loss = keras.losses.MeanSquaredError()
    metric = keras.metrics.MeanAbsoluteError(name="mae")
    model.compile(OPTIMIZERS[optimizer](), loss, metrics=[metric])
    kreg.bind(model)
    fit(model)
    return model


def fit(model, epochs=1):
    return model.fit(
        X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0
    )


def values(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def mentions_kreg(model):
    """Whether the file of `model` needs kreg."""
    return "kreg>" in repr(keras.saving.serialize_keras_object(model))


# What is taken off.


@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, "scaled"))
def test_nothing_of_kreg_is_left(optimizer):
    model = trained(optimizer)
    assert mentions_kreg(model)
    kreg.strip(model)
    assert not mentions_kreg(model)
    assert not is_bound(model)
    for variable in model.weights:
        module = type(variable.regularizer).__module__
        assert not module.startswith("kreg")
    assert not [name for name in vars(model) if "kreg" in name]


def test_weights_stay():
    model = trained()
    before = model.get_weights()
    kreg.strip(model)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.thorough
def test_regularizers_of_keras_stay_and_act():
    model = trained()
    own = model.get_layer("plain").kernel_regularizer
    kreg.strip(model)
    layer = model.get_layer("plain")
    assert layer.kernel_regularizer is own
    assert layer.kernel.regularizer is own
    model(X)  # or the losses are those of the last training step
    (loss,) = values(model.losses)
    np.testing.assert_allclose(
        loss, 0.01 * (values([layer.kernel])[0] ** 2).sum(), rtol=1e-5
    )


def test_plain_function_stays():
    def penalty(w):
        return 0.5 * keras.ops.sum(w * w)

    model = network()
    kreg.attach(model, [("plain", penalty)])
    kreg.strip(model)
    assert model.get_layer("plain").kernel.regularizer is penalty
    assert len(model.losses) == 1


def test_cells_wrappers_and_attention_are_stripped():
    inputs = keras.Input((5, 8))
    x = layers.Bidirectional(
        layers.LSTM(
            3,
            kernel_regularizer=kreg.L1(0.1),
            recurrent_regularizer=kreg.L1(0.1),
            activity_regularizer=kreg.L2(0.1),
            return_sequences=True,
        )
    )(inputs)
    x = layers.MultiHeadAttention(
        2, 3, kernel_regularizer=kreg.L1(0.1), bias_regularizer=kreg.L2(0.1)
    )(x, x)
    x = layers.TimeDistributed(
        layers.Dense(2, kernel_regularizer=kreg.L1(0.1))
    )(x)
    x = layers.RNN(layers.GRUCell(2, kernel_regularizer=kreg.L1(0.1)))(x)
    model = keras.Model(inputs, x)
    assert mentions_kreg(model)
    kreg.strip(model)
    assert not mentions_kreg(model)
    assert model.losses == []


def test_embeddings_and_normalizations_are_stripped():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Embedding(5, 4, embeddings_regularizer=kreg.L1(0.1)),
            layers.BatchNormalization(gamma_regularizer=kreg.L1(0.1)),
            layers.SeparableConv1D(
                2,
                1,
                depthwise_regularizer=kreg.L1(0.1),
                pointwise_regularizer=kreg.L1(0.1),
            ),
        ]
    )
    changes = kreg.strip(model)
    assert len(changes) == 4
    assert not mentions_kreg(model)


def test_layer_that_is_not_built_is_stripped():
    model = keras.Sequential([layers.Dense(1, kernel_regularizer=kreg.L1(0.1))])
    assert len(kreg.strip(model)) == 1
    model.build((None, 4))
    assert model.losses == []


@pytest.mark.thorough
def test_models_inside_are_stripped_and_unbound():
    inner = trained()
    inputs = keras.Input((4,))
    outer = keras.Model(inputs, inner(inputs))
    kreg.strip(outer)
    assert not mentions_kreg(outer)
    assert not is_bound(inner)
    assert isinstance(inner.optimizer, keras.optimizers.Adam)
    assert set(fit(inner).history) == {"loss", "mae"}


@pytest.mark.parametrize("own", [None, keras.constraints.NonNeg()])
def test_support_is_freed_and_the_own_constraint_comes_back(own):
    layer = layers.Dense(
        1, use_bias=False, kernel_regularizer=kreg.L1(), kernel_constraint=own
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    model.set_weights([np.array([[0.0], [1.0], [0.0], [0.5]])])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    kreg.freeze_support(model)
    fit(model)
    changes = kreg.strip(model)
    assert layer.kernel.constraint is own
    assert any(isinstance(c.before, KeepSupport) for c in changes.changes)
    fit(model)
    zeros = model.get_weights()[0][[0, 2]] == 0.0
    assert not zeros.all()
    if own is not None:
        assert (model.get_weights()[0] >= 0.0).all()


def test_what_attach_replaced_does_not_come_back():
    model = network()
    kreg.attach(model, [("plain", kreg.L1(0.1))])
    kreg.strip(model)
    assert model.get_layer("plain").kernel_regularizer is None
    assert model.losses == []


def test_nothing_to_strip_is_no_error():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    changes = kreg.strip(model)
    assert len(changes) == 0
    assert str(changes) == "nothing to change"
    assert changes.to_dict() == {"changes": []}


@pytest.mark.thorough
def test_record_tells_what_was_taken_off():
    model = trained("scheduled")
    optimizer = model.optimizer
    changes = kreg.strip(model).changes
    assert [(c.path, c.attribute) for c in changes] == [
        ("net/hidden/kernel", "kernel_regularizer"),
        ("net/hidden/bias", "bias_regularizer"),
        ("net/last/kernel", "kernel_regularizer"),
        ("net/hidden", "activity_regularizer"),
        ("net", "optimizer"),
        ("net", "learning_rate"),
    ]
    assert changes[-2].before is optimizer
    assert changes[-1].after == pytest.approx(0.014)


# The optimizer.


@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, "scaled"))
def test_optimizer_keeps_its_state(optimizer):
    model = trained(optimizer)
    before = values(
        variable
        for variable in model.optimizer.variables
        if "average_rate" not in variable.name  # of kreg alone
    )
    kreg.strip(model)
    after = values(model.optimizer.variables)
    if optimizer in ("scheduled", "plain"):
        assert after.pop(1) == pytest.approx(0.014)
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 4
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "optimizer",
    few_of(["proximal", "scaled", "scheduled", "plain"], "scheduled"),
)
def test_training_goes_on_as_without_kreg(optimizer):
    """The same as a model of Keras with these weights and this state."""
    model = trained(optimizer)
    kreg.strip(model)
    theirs = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, activation="relu"),
            layers.Dense(6, kernel_regularizer=keras.regularizers.L2(0.01)),
            layers.Dense(1),
        ]
    )
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model.optimizer)
    )
    theirs.set_weights(model.get_weights())
    theirs.compile(twin, "mse", metrics=["mae"])
    twin.build(theirs.trainable_variables)
    for ours, variable in zip(
        values(model.optimizer.variables), twin.variables, strict=True
    ):
        variable.assign(ours)
    histories = [fit(m, epochs=2).history for m in (model, theirs)]
    assert set(histories[0]) == {"loss", "mae"}
    np.testing.assert_allclose(
        histories[0]["loss"], histories[1]["loss"], rtol=1e-5
    )
    for ours, expected in zip(
        model.get_weights(), theirs.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
def test_several_optimizers_go_on():
    model = trained("several")
    kreg.strip(model)
    assert isinstance(model.optimizer, keras.optimizers.MultiOptimizer)
    before = model.get_weights()
    assert set(fit(model).history) == {"loss", "mae"}
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        assert (ours != theirs).any()


def test_compiles_again_after_attach_fit_and_strip():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    kreg.attach(model, kreg.L1(0.5))
    model.compile(kreg.ProximalOptimizer(keras.optimizers.SGD(0.05)), "mse")
    fit(model, epochs=20)
    assert (model.get_weights()[0] == 0.0).any()
    kreg.strip(model)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    assert set(fit(model, epochs=2).history) == {"loss"}
    assert (model.get_weights()[0] != 0.0).all()


@pytest.mark.thorough
def test_attached_again_it_acts_again():
    model = trained()
    kreg.strip(model)
    fit(model)
    kreg.attach(model, kreg.L1(0.5))
    assert fit(model).history["penalty"][0] > 0
    kreg.strip(model)
    assert set(fit(model).history) == {"loss", "mae"}


@pytest.mark.thorough
def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = network()
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    kreg.bind(model)
    fit(model)
    kreg.strip(model)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(model.optimizer.inner_optimizer, keras.optimizers.Adam)
    assert not mentions_kreg(model)
    fit(model)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_under_a_strategy(mirrored_strategy):
    with mirrored_strategy.scope():
        model = network()
        model.compile(OPTIMIZERS["scheduled"](), "mse")
    kreg.bind(model)
    fit(model)
    kreg.strip(model)
    assert set(fit(model).history) == {"loss"}


# What Keras alone can load.

LOADER = """
import sys
sys.modules["kreg"] = None
import keras
import numpy as np
model = keras.models.load_model(sys.argv[1])
assert model.optimizer.iterations == 4
np.save(sys.argv[2], model.predict(np.load(sys.argv[3]), verbose=0))
if sys.argv[1].endswith(".keras"):  # Keras does not train on from HDF5
    x = np.load(sys.argv[3])
    model.fit(x, x[:, :1], verbose=0)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize(
    ("suffix", "optimizer"),
    [*((".keras", name) for name in OPTIMIZERS), (".h5", "proximal")],
)
def test_loads_where_kreg_is_not_installed(tmp_path, suffix, optimizer):
    model = trained(optimizer)
    kreg.strip(model)
    file = tmp_path / f"model{suffix}"
    model.save(file)
    np.save(tmp_path / "x.npy", X)
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            LOADER,
            str(file),
            str(tmp_path / "y.npy"),
            str(tmp_path / "x.npy"),
        ],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    np.testing.assert_array_equal(
        np.load(tmp_path / "y.npy"), model.predict(X, verbose=0)
    )


def test_file_does_not_name_kreg(tmp_path):
    model = trained()
    kreg.strip(model)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert b"kreg" not in file.read("config.json")


@pytest.mark.parametrize("optimizer", ["scheduled", "plain"])
def test_rate_in_the_place_of_a_schedule_is_loaded(tmp_path, optimizer):
    model = trained(optimizer)
    kreg.strip(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(
        values(loaded.optimizer.variables),
        values(model.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


# What cannot be reached changes nothing.


@keras.saving.register_keras_serializable(package="strip_tests")
class Keeping(layers.Layer):
    """A layer that saves a penalty under a name of its own."""

    def __init__(self, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.penalty = keras.regularizers.get(penalty)

    def call(self, x):
        return x

    def get_config(self):
        penalty = keras.regularizers.serialize(self.penalty)
        return {**super().get_config(), "penalty": penalty}


@keras.saving.register_keras_serializable(package="strip_tests")
class Twice(keras.regularizers.Regularizer):
    """A regularizer with another inside."""

    def __init__(self, part):
        self.part = keras.regularizers.get(part)

    def __call__(self, w):
        return 2.0 * self.part(w)

    def get_config(self):
        return {"part": keras.regularizers.serialize(self.part)}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "layer",
    [
        lambda: Keeping(kreg.L1(0.1), name="odd"),
        lambda: layers.Dense(
            4, kernel_regularizer=Twice(kreg.L1(0.1)), name="odd"
        ),
    ],
)
def test_what_is_out_of_reach_is_an_error_that_names_the_layer(layer):
    model = keras.Sequential(
        [keras.Input((4,)), layer(), *regularized_layers()], name="net"
    )
    model.compile(OPTIMIZERS["scheduled"](), "mse")
    kreg.bind(model)
    config = keras.saving.serialize_keras_object(model)
    before = [v.regularizer for v in model.weights]
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=r"Received: `.*odd`"):
        kreg.strip(model)
    assert keras.saving.serialize_keras_object(model) == config
    assert [v.regularizer for v in model.weights] == before
    assert model.optimizer is optimizer
    assert is_bound(model)
    assert len(optimizer.inner_optimizer.variables) == 1
    assert "penalty" in fit(model).history


def test_subclassed_model_without_a_config_is_stripped():
    class Model(keras.Model):
        def __init__(self, width):
            super().__init__()
            self.dense = layers.Dense(width, kernel_regularizer=kreg.L1(0.1))

        def call(self, x):
            return self.dense(x)

        def get_config(self):
            raise NotImplementedError

    model = Model(1)
    model(X)
    assert len(kreg.strip(model)) == 1
    assert model.losses == []


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"`model` must be a `keras\.Model`"):
        kreg.strip(layers.Dense(1))


# Configs and copies.


def test_config_without_kreg_is_a_copy():
    layer = regularized_layers()[0]
    config = layer.get_config()
    stripped = without_kreg(config)
    assert "kreg>" in repr(config)
    assert "kreg>" not in repr(stripped)
    assert stripped["units"] == 6
    assert stripped["dtype"] is not config["dtype"]
    assert type(layer).from_config(stripped).kernel_regularizer is None


def test_config_keeps_the_regularizers_of_keras():
    config = regularized_layers()[1].get_config()
    assert without_kreg(config) == config


@keras.saving.register_keras_serializable(package="strip_tests")
class Subclassed(keras.Model):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dense = layers.Dense(width, name="dense")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {"width": self.width, "name": self.name}


def subclassed():
    model = Subclassed(3)
    model(X)
    kreg.attach(model, [(lambda v: v.name == "kernel", kreg.L1(0.1))])
    return model


def functional():
    inputs = keras.Input((4,), name="x")
    x = network()(inputs)
    x = layers.Dense(
        2, dtype="mixed_bfloat16", kernel_regularizer=kreg.L1(0.1)
    )(x)
    return keras.Model(inputs, [x, layers.Dropout(0.5)(x)], name="outer")


def half():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, dtype="bfloat16", kernel_regularizer=kreg.L1(0.1)),
        ]
    )


@pytest.mark.filterwarnings("ignore:The regularizers attached")
@pytest.mark.parametrize(
    "build",
    [network, trained, functional, subclassed, half],
    ids=lambda f: f.__name__,
)
def test_copy_has_the_same_weights_and_nothing_of_kreg(build):
    model = build()
    before = keras.saving.serialize_keras_object(model)
    copy = stripped_copy(model)
    assert keras.saving.serialize_keras_object(model) == before
    assert not mentions_kreg(copy)
    assert not copy.compiled
    assert copy.name == model.name
    for ours, theirs in zip(copy.weights, model.weights, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.regularizer is None or ours.name == "kernel"
        first, second = values([ours, theirs])
        assert first.tobytes() == second.tobytes()
    assert type(copy) is type(model)
    names = [layer.name for layer in copy.layers]
    assert names == [layer.name for layer in model.layers]
    policies = [layer.dtype_policy.name for layer in copy.layers]
    assert policies == [layer.dtype_policy.name for layer in model.layers]


@pytest.mark.thorough
def test_copy_is_apart_from_the_model():
    model = trained()
    copy = stripped_copy(model)
    before = copy.get_weights()
    fit(model)
    for ours, theirs in zip(copy.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.thorough
def test_copy_of_an_inner_model_that_is_compiled():
    inner = trained()
    inputs = keras.Input((4,))
    copy = stripped_copy(keras.Model(inputs, inner(inputs)))
    assert not mentions_kreg(copy)


class Unregistered(layers.Layer):
    def call(self, x):
        return x


def test_copy_of_a_layer_that_is_not_registered():
    model = keras.Sequential([keras.Input((4,)), Unregistered()])
    assert isinstance(stripped_copy(model).layers[0], Unregistered)


def test_model_that_cannot_be_copied_is_refused():
    class Model(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, x):
            return self.layer(x)

    model = Model(layers.Dense(1))
    model(X)
    with pytest.raises(ValueError, match="anew from its config"):
        stripped_copy(model)


def test_copy_of_what_keeps_kreg_is_refused():
    model = keras.Sequential([keras.Input((4,)), Keeping(kreg.L1(0.1))])
    with pytest.raises(ValueError, match=r"object of kreg at `.*penalty`"):
        stripped_copy(model)
