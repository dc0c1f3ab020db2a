"""The data loss, the penalties on weights, and those on activities."""

import custom_steps
import keras
import numpy as np
import pytest
from keras import ops
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype("float32")
Y = RNG.normal(size=(10, 2)).astype("float32")
SAMPLE_WEIGHT = np.arange(1.0, 11.0, dtype="float32")
L2, ACTIVITY = 0.5, 0.3


@keras.saving.register_keras_serializable("test_three_parts")
class KL(keras.layers.Layer):
    """Adds to the loss, as the sampling layer of a VAE does."""

    def call(self, z):
        self.add_loss(ACTIVITY * ops.mean(ops.sum(ops.square(z), axis=-1)))
        return z


def dense(units=2, **arguments):
    return keras.layers.Dense(
        units, kernel_regularizer=kreg.L2(L2), **arguments
    )


def activity_layers():
    return [dense(activity_regularizer=kreg.L1(ACTIVITY))]


LAYERS = {
    "kreg on activities": activity_layers,
    "keras on activities": lambda: [
        dense(activity_regularizer=keras.regularizers.L1(ACTIVITY))
    ],
    "activity layer": lambda: [
        dense(),
        keras.layers.ActivityRegularization(l1=ACTIVITY),
    ],
    "add_loss": lambda: [dense(), KL()],
    "nested": lambda: [
        keras.Sequential([keras.Input((3,)), *activity_layers()])
    ],
}


def outputs_of(model):
    kernel, bias = model.get_weights()
    return X @ kernel + bias


def activity_of(name, outputs):
    if name == "add_loss":
        return ACTIVITY * np.mean(np.sum(outputs**2, axis=1))
    return ACTIVITY * np.abs(outputs).sum() / len(outputs)


def parts_of(model, name, error=None):
    """The three parts of the loss for fixed weights, by NumPy."""
    outputs = outputs_of(model)
    if error is None:
        error = np.mean((outputs - Y) ** 2)
    return {
        "data_loss": error,
        "penalty": L2 * np.sum(model.get_weights()[0] ** 2),
        "activity_penalty": activity_of(name, outputs),
    }


def assert_parts(logs, expected, rtol=1e-5):
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=rtol, err_msg=name)


def fit_logs(model, **arguments):
    arguments = {"batch_size": 4, "verbose": 0, "shuffle": False, **arguments}
    history = model.fit(X, Y, **arguments).history
    return {name: values[-1] for name, values in history.items()}


def model_of(layers, cls=keras.Model, **compiled):
    inputs = outputs = keras.Input((3,))
    for layer in layers:
        outputs = layer(outputs)
    model = cls(inputs, outputs)
    compiled = {"optimizer": keras.optimizers.SGD(0.0), **compiled}
    model.compile(loss="mse", **compiled)
    kreg.bind(model)
    return model


@pytest.mark.parametrize(
    "name", few_of(LAYERS, "kreg on activities", "add_loss")
)
def test_fit_and_evaluate(name):
    model = model_of(LAYERS[name]())
    logs = fit_logs(model, epochs=2, validation_data=(X, Y))
    expected = parts_of(model, name)
    assert_parts(logs, expected)
    assert_parts(logs, {f"val_{n}": v for n, v in expected.items()})
    np.testing.assert_allclose(logs["loss"], sum(expected.values()), rtol=1e-5)
    evaluated = model.evaluate(X, Y, verbose=0, batch_size=4, return_dict=True)
    assert_parts(evaluated, expected)


def test_the_third_part_is_logged_only_where_there_is_one():
    model = model_of([dense()])
    assert set(fit_logs(model)) == {"loss", "data_loss", "penalty"}


MODES = {
    "run_eagerly": {"run_eagerly": True},
    "jit_compile": {"jit_compile": True},
    "steps_per_execution": {"steps_per_execution": 2},
    "accumulation": {
        "optimizer": keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    },
    "loss scaling": {
        "optimizer": keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.0)
        )
    },
    "proximal": {
        "optimizer": kreg.ProximalOptimizer(keras.optimizers.SGD(0.0))
    },
}


@pytest.mark.parametrize("mode", few_of(MODES, "accumulation"))
def test_mode(mode):
    if BACKEND == "torch" and mode in ("steps_per_execution", "jit_compile"):
        pytest.skip("Keras has no such mode on torch, or compiles for long")
    arguments = {
        key: value.__class__.from_config(value.get_config())
        if isinstance(value, keras.optimizers.Optimizer)
        else value
        for key, value in MODES[mode].items()
    }
    model = model_of(activity_layers(), **arguments)
    logs = fit_logs(model, validation_data=(X, Y))
    expected = parts_of(model, "kreg on activities")
    assert_parts(logs, expected)
    assert_parts(logs, {f"val_{n}": v for n, v in expected.items()})


@pytest.mark.thorough
def test_mixed_precision():
    model = model_of(
        [dense(activity_regularizer=kreg.L1(ACTIVITY), dtype="mixed_float16")]
    )
    expected = parts_of(model, "kreg on activities")
    assert_parts(fit_logs(model), expected, rtol=1e-2)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX is in single precision")
@pytest.mark.parametrize("activity", [None, kreg.L2(0.3)], ids=["no", "L2"])
def test_double_precision(activity):
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    x = np.linspace(-1.0, 1.0, 12).reshape(6, 2)
    layer = keras.layers.Dense(
        1,
        kernel_initializer="ones",
        kernel_regularizer=kreg.L1(0.1),
        activity_regularizer=activity,
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    history = model.fit(x, x[:, :1], batch_size=6, verbose=0).history
    assert history["data_loss"][0] == pytest.approx(np.mean(x[:, 1] ** 2))
    assert history["penalty"][0] == pytest.approx(0.2)


def test_several_outputs_with_weights():
    """Two losses, weighted, one with sample weights; each output penalized."""
    inputs = keras.Input((3,))
    heads = {
        name: dense(activity_regularizer=kreg.L1(ACTIVITY), name=name)(inputs)
        for name in ("a", "b")
    }
    model = keras.Model(inputs, heads)
    model.compile(
        keras.optimizers.SGD(0.0),
        {"a": "mse", "b": "mse"},
        loss_weights={"a": 1.0, "b": 2.0},
    )
    kreg.bind(model)
    weights = {"a": SAMPLE_WEIGHT, "b": np.ones(10, "float32")}
    history = model.fit(
        X, {"a": Y, "b": Y}, sample_weight=weights, verbose=0, batch_size=10
    ).history
    kernel_a, bias_a, kernel_b, bias_b = model.get_weights()
    a, b = X @ kernel_a + bias_a, X @ kernel_b + bias_b
    errors_a = np.mean((a - Y) ** 2, axis=1) * SAMPLE_WEIGHT
    expected = {
        "data_loss": np.mean(errors_a) + 2.0 * np.mean((b - Y) ** 2),
        "penalty": L2 * (np.sum(kernel_a**2) + np.sum(kernel_b**2)),
        "activity_penalty": ACTIVITY * (np.abs(a).sum() + np.abs(b).sum()) / 10,
    }
    assert_parts(history, expected)


class Distilled(keras.Model):
    """Leaves all penalties out of its loss."""

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return 2.0 * ops.mean((y - y_pred) ** 2)


class Summed(Distilled):
    """Adds all penalties to a loss of its own."""

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return super().compute_loss(x, y, y_pred) + sum(self.losses)


@pytest.mark.parametrize("cls", [Distilled, Summed])
def test_own_compute_loss(cls):
    model = model_of(activity_layers(), cls)
    logs = fit_logs(model, validation_data=(X, Y))
    error = 2.0 * np.mean((outputs_of(model) - Y) ** 2)
    expected = parts_of(model, "kreg on activities", error)
    if cls is Distilled:  # what its loss leaves out does not act
        expected["penalty"] = 0.0
        expected.pop("activity_penalty")
        assert "activity_penalty" not in logs
    assert_parts(logs, expected)
    assert_parts(logs, {f"val_{n}": v for n, v in expected.items()})


def test_proximal_steps_count_where_the_loss_leaves_penalties_out():
    proximal = kreg.ProximalOptimizer(keras.optimizers.SGD(0.0))
    model = model_of([dense()], Distilled, optimizer=proximal)
    logs = fit_logs(model, validation_data=(X, Y))
    error = 2.0 * np.mean((outputs_of(model) - Y) ** 2)
    penalty = L2 * np.sum(model.get_weights()[0] ** 2)
    for prefix in ("", "val_"):
        assert_parts(
            logs,
            {
                f"{prefix}loss": error,
                f"{prefix}data_loss": error,
                f"{prefix}penalty": penalty,
            },
        )


class Tracked(custom_steps.OwnLoss):
    """Returns the mean of its loss that a metric of its own keeps."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="total")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, *args):
        if BACKEND == "jax":
            logs, (tv, ntv, ov, mv) = super().train_step(*args)
            mv = self.tracker.stateless_update_state(mv, logs["loss"])
            mean = self.tracker.stateless_result(mv)
            return {"loss": mean}, (tv, ntv, ov, mv)
        self.tracker.update_state(super().train_step(*args)["loss"])
        return {"loss": self.tracker.result()}


# On JAX, terms of `add_loss` in a step that does not call `compute_loss` are
# inside the function that is differentiated, out of reach.
REACHES_ACTIVITIES = BACKEND != "jax"
# `CustomStep` and `Tracked` update a mean by each batch, without its size.
STEPS = {
    "compute_loss": (custom_steps.CustomStep, None),
    "batch loss": (custom_steps.OwnLoss, [4, 4, 2]),
    "own tracker": (Tracked, None),
}


@pytest.mark.parametrize("name", STEPS)
def test_own_train_step(name):
    cls, weights = STEPS[name]
    activity = name == "compute_loss" or REACHES_ACTIVITIES
    model = model_of(activity_layers() if activity else [dense()], cls)
    logs = fit_logs(model, epochs=2)
    outputs = outputs_of(model)
    batches = [slice(0, 4), slice(4, 8), slice(8, 10)]
    by_batch = {
        "data_loss": [np.mean((outputs[b] - Y[b]) ** 2) for b in batches],
        "activity_penalty": [
            activity_of("activity", outputs[b]) for b in batches
        ],
    }
    if not activity:
        by_batch.pop("activity_penalty")
    expected = {
        part: np.average(values, weights=weights)
        for part, values in by_batch.items()
    }
    expected["penalty"] = L2 * np.sum(model.get_weights()[0] ** 2)
    assert_parts(logs, expected)
    if name != "batch loss":
        np.testing.assert_allclose(
            logs["loss"], sum(expected.values()), rtol=1e-5
        )


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_parts_of_an_own_step_add_up_while_weights_move(rate):
    layers = activity_layers() if REACHES_ACTIVITIES else [dense()]
    model = model_of(layers, Tracked, optimizer=keras.optimizers.SGD(rate))
    logs = fit_logs(model, epochs=3)
    parts = ("data_loss", "penalty", "activity_penalty")
    total = sum(logs.get(name, 0.0) for name in parts)
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-5)


def test_early_stopping_is_on_the_data_loss_alone():
    """The activity penalty keeps rising; the data loss is constant."""
    doubling = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 2.0)
    model = model_of([dense(activity_regularizer=kreg.L1(doubling))])
    stop = keras.callbacks.EarlyStopping(
        "val_data_loss", patience=1, min_delta=1e-5
    )
    logs = model.fit(
        X, Y, epochs=9, validation_data=(X, Y), callbacks=[stop], verbose=0
    ).history
    assert len(logs["loss"]) == 2
    assert logs["val_activity_penalty"][1] > logs["val_activity_penalty"][0]
