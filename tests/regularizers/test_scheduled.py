"""`Scheduled` works wherever kreg's own regularizers do."""

import copy

import keras
import numpy as np
import pytest
from event_files import events
from instances import fourth_powers
from keras import ops
from regularizers.battery import number, weights

import kreg
from kreg.callbacks import StrengthScheduler

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 3)).astype("float32")
Y = X @ np.array([[1.0], [0.0], [-0.5]], "float32")
START = np.array([[0.5], [-0.4], [0.3]], "float32")
RATE = 0.05
RAMP = kreg.schedules.LinearRamp(0.1, 0.4, steps=6)


def linear(penalty, optimizer, **options):
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_regularizer=penalty, name="y"
    )
    model = keras.Sequential([keras.Input((3,)), layer], name="net")
    layer.kernel.assign(START)
    model.compile(optimizer, "mse", **options)
    return model


def fit(model, **options):
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, **options)
    return np.asarray(ops.convert_to_numpy(model.layers[-1].kernel))


def expected(strength, epochs=1):
    """Gradient descent of the data loss plus `strength(step) * sum(w**4)`."""
    w, step = START.astype("float64"), 0
    for _ in range(epochs):
        for i in range(0, len(X), 4):
            x, y = X[i : i + 4], Y[i : i + 4]
            slope = 2 * x.T @ (x @ w - y) / len(x)
            w = w - RATE * (slope + strength(step) * 4 * w**3)
            step += 1
    return w


def test_value_equals_that_of_keras():
    orthogonal = keras.regularizers.OrthogonalRegularizer(0.3)
    w = weights((5, 4))
    assert number(kreg.Scheduled(orthogonal, 0.5)(w)) == pytest.approx(
        0.5 * number(orthogonal(ops.convert_to_tensor(w))), rel=1e-6
    )


def test_name_of_a_regularizer_of_keras():
    assert isinstance(
        kreg.Scheduled("l1", 0.5).regularizer, keras.regularizers.L1
    )


@pytest.mark.parametrize("value", [None, 0.1, [1]], ids=repr)
def test_not_a_regularizer(value):
    with pytest.raises(TypeError, match=r"`regularizer` must be .*Received: "):
        kreg.Scheduled(value)


def test_penalties_of_kreg_take_their_schedule_themselves():
    for penalty in (kreg.L1(0.1), kreg.L1):
        with pytest.raises(TypeError, match=r"kreg\.L1\(schedule\)"):
            kreg.Scheduled(penalty)


@pytest.mark.parametrize("wrap", [lambda o: o, kreg.ProximalOptimizer])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_acts_once_through_the_gradient(wrap, run_eagerly):
    optimizer = wrap(keras.optimizers.SGD(RATE))
    model = linear(
        kreg.Scheduled(fourth_powers, RAMP), optimizer, run_eagerly=run_eagerly
    )
    kreg.bind(model)
    np.testing.assert_allclose(
        fit(model, epochs=3),
        expected(lambda step: 0.1 + 0.3 * min(step / 6, 1), epochs=3),
        rtol=1e-5,
    )


def test_unbound_under_a_proximal_optimizer_acts_once_too():
    optimizer = kreg.ProximalOptimizer(keras.optimizers.SGD(RATE))
    model = linear(kreg.Scheduled(fourth_powers, 0.2), optimizer)
    np.testing.assert_allclose(
        fit(model), expected(lambda step: 0.2), rtol=1e-5
    )


def test_unbound_schedule_is_reported():
    model = linear(
        kreg.Scheduled(fourth_powers, RAMP), keras.optimizers.SGD(RATE)
    )
    with pytest.warns(UserWarning, match="evaluated at step 0"):
        fit(model)


def test_compiled_step_sees_a_new_multiplier():
    penalty = kreg.Scheduled(fourth_powers, 0.2)
    model = linear(penalty, keras.optimizers.SGD(RATE))
    kreg.bind(model)
    fit(model)
    model.layers[-1].kernel.assign(START)
    penalty.multiplier = 3.0
    np.testing.assert_allclose(
        fit(model), expected(lambda step: 0.6), rtol=1e-5
    )


def test_moving_averages_stay_where_a_weight_is_zero():
    """No proximal step makes or keeps zeros, so they do not count."""
    inner = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model = linear(
        kreg.Scheduled(fourth_powers, 0.2), kreg.ProximalOptimizer(inner)
    )
    kreg.bind(model)
    fit(model)
    kernel = model.layers[-1].kernel
    average = RNG.normal(size=START.shape)
    kernel.assign(np.zeros(START.shape))
    inner._model_variables_moving_average[0].assign(average)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_allclose(ops.convert_to_numpy(kernel), average, rtol=1e-6)


def test_callback_steers_it():
    penalty = kreg.Scheduled(fourth_powers, 0.2)
    model = linear(penalty, keras.optimizers.SGD(RATE))
    fit(model, callbacks=[StrengthScheduler(lambda epoch: 0.5)])
    assert penalty.multiplier == 0.5


def two_layers(penalty):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(
                8, kernel_regularizer=kreg.L1(1e-3), name="hidden"
            ),
            keras.layers.Dense(1, kernel_regularizer=penalty, name="y"),
        ],
        name="net",
    )
    model.compile(kreg.ProximalOptimizer(keras.optimizers.Adam(0.01)), "mse")
    return model


@pytest.mark.filterwarnings("ignore:TargetSparsity")
def test_target_sparsity_steers_only_what_makes_zeros():
    penalty = kreg.Scheduled(fourth_powers, 0.2)
    model = two_layers(penalty)
    model.fit(X, Y, epochs=8, verbose=0, callbacks=[kreg.TargetSparsity(0.5)])
    assert penalty.multiplier == 1.0
    assert model.layers[0].kernel_regularizer.multiplier != 1.0


def test_target_sparsity_of_nothing_else_is_refused():
    model = linear(
        kreg.Scheduled(fourth_powers, 0.2), kreg.ProximalOptimizer("adam")
    )
    with pytest.raises(ValueError, match="penalty makes zeros"):
        fit(model, callbacks=[kreg.TargetSparsity(0.5)])


@pytest.mark.parametrize("strength", [0.25, RAMP], ids=["number", "ramp"])
@pytest.mark.parametrize("bound", [False, True])
def test_figures(strength, bound):
    model = two_layers(kreg.Scheduled(fourth_powers, strength, multiplier=2.0))
    if bound:
        kreg.bind(model)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(3)
    now = 2.0 * 0.25  # the ramp is half done
    value = now * float(np.sum(model.layers[1].get_weights()[0] ** 4))
    for _ in range(2):  # once as it is, and once compiled
        reading = kreg.statistics.read(model)
        (row,) = (w for w in reading.weights if w.path == "net/y/kernel")
        assert row.regularizer == "Scheduled"
        assert row.strengths == {"strength": pytest.approx(now)}
        assert row.penalty == pytest.approx(value, rel=1e-5)
    assert kreg.penalties(model)["net/y/kernel"] == pytest.approx(
        value, rel=1e-5
    )
    kreg.summary(model)


def test_monitor_logs_its_strength_and_penalty(tmp_path):
    model = two_layers(kreg.Scheduled(fourth_powers, RAMP))
    monitor = kreg.RegularizationMonitor(tmp_path)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[monitor])
    logged = events(tmp_path / "train")
    # Four steps an epoch; the ramp ends after six.
    assert dict(logged["kreg_strength/y/kernel"]) == {
        0: pytest.approx(0.1),
        4: pytest.approx(0.3),
        8: pytest.approx(0.4),
    }
    value = float(np.sum(model.layers[1].get_weights()[0] ** 4))
    assert dict(logged["kreg_penalty/y/kernel"])[8] == pytest.approx(
        0.4 * value, rel=1e-5
    )


def test_linter_does_not_promise_zeros_but_sees_a_strength_of_zero():
    sound = two_layers(kreg.Scheduled(fourth_powers, 0.2))
    kreg.bind(sound)
    assert "net/y/kernel" not in str(kreg.check(sound))
    idle = two_layers(kreg.Scheduled(fourth_powers, 0.2, multiplier=0.0))
    kreg.bind(idle)
    assert "the multiplier of its Scheduled is 0" in str(kreg.check(idle))


def test_frozen_support_suspends_it_and_strip_takes_it_off():
    model = two_layers(kreg.Scheduled(fourth_powers, 0.2))
    kreg.freeze_support(model)
    assert kreg.penalties(model)["net/y/kernel"] == 0.0
    kreg.unfreeze_support(model)
    assert kreg.penalties(model)["net/y/kernel"] > 0.0
    stripped = kreg.strip(model)
    assert all(v.regularizer is None for v in model.weights), stripped


def test_attached_to_a_model():
    penalty = kreg.Scheduled(fourth_powers, RAMP)
    model = linear(None, keras.optimizers.SGD(RATE))
    kreg.attach(model, penalty)
    np.testing.assert_allclose(
        fit(model),
        expected(lambda step: 0.1 + 0.3 * min(step / 6, 1)),
        rtol=1e-5,
    )


def test_on_activities():
    layer = keras.layers.Dense(
        2,
        kernel_initializer="ones",
        activity_regularizer=kreg.Scheduled(fourth_powers, 0.5),
    )
    layer(np.ones((4, 3), "float32"))
    (loss,) = layer.losses
    assert number(loss) == pytest.approx(0.5 * (4 * 2 * 81) / 4, rel=1e-6)


def test_path_needs_a_proximal_step():
    with pytest.raises(TypeError, match="must return a kreg penalty"):
        kreg.path(
            lambda: linear(None, "sgd"),
            (X, Y),
            lambda s: kreg.Scheduled(fourth_powers, s),
            training=kreg.selection.Training(epochs=1),
        )


def unregistered(w):
    return ops.sum(w)


def test_function_that_is_not_registered_is_a_custom_object(tmp_path):
    model = linear(kreg.Scheduled(unregistered, 0.1), "sgd")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"unregistered": unregistered}
    )
    (layer,) = loaded.layers
    assert layer.kernel_regularizer.regularizer is unregistered


class WithoutConfig:
    def __call__(self, w):
        return ops.sum(w)


def test_what_keras_cannot_serialize_says_so():
    penalty = kreg.Scheduled(WithoutConfig(), 0.1)
    with pytest.raises(ValueError, match=r"`regularizer` must be .*get_config"):
        penalty.get_config()


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_copies_share_a_function_that_cannot_be_saved(make):
    function = lambda w: ops.sum(w)  # noqa: E731
    penalty = make(kreg.Scheduled(function, 0.1, multiplier=0.5))
    assert penalty.regularizer is function
    assert (penalty.strength, penalty.multiplier) == (0.1, 0.5)


def test_compacted_model_has_no_need_of_the_function():
    model = linear(kreg.Scheduled(lambda w: ops.sum(w), 0.1), "sgd")
    small = kreg.compact(model)
    np.testing.assert_allclose(
        small.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6
    )


def test_repr_names_the_regularizer():
    orthogonal = keras.regularizers.OrthogonalRegularizer(0.5)
    assert repr(kreg.Scheduled(orthogonal, 0.1)) == (
        "Scheduled(regularizer=OrthogonalRegularizer(factor=0.5, mode=rows), "
        "strength=0.1)"
    )


def test_saved_inside_of_a_custom_object_scope():
    scope = {"unregistered": unregistered}
    with keras.saving.custom_object_scope(scope):
        config = kreg.Scheduled(unregistered, 0.1).get_config()
        revived = kreg.Scheduled.from_config(config)
    assert revived.regularizer is unregistered
