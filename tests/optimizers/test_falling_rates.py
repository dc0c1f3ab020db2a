"""Where training ends while the learning rate falls is the minimum too.

SGD and RMSprop keep past gradients with the learning rates of their time. The
proximal steps must balance these rates, not the present one.
"""

import keras
import numpy as np
import pytest
from full_batch import fit_steps
from keras import optimizers
from keras.optimizers import schedules
from optimizers.two_members import of_two_members
from sklearn.linear_model import Lasso
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
STEPS, RATE, STRENGTH = 1500, 0.01, 0.4

RATES = {
    "cosine": lambda: schedules.CosineDecay(RATE, STEPS),
    "linear": lambda: schedules.PolynomialDecay(RATE, STEPS, RATE / 100),
    "exponential": lambda: schedules.ExponentialDecay(RATE, STEPS // 2, 0.1),
    "inverse": lambda: schedules.InverseTimeDecay(RATE, 100, 1.0),
    "rising": lambda: kreg.schedules.LinearRamp(RATE / 100, RATE, steps=STEPS),
}


class HeavyBall(optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        velocity = self.momentums[self._get_variable_index(variable)]
        step = keras.ops.cast(learning_rate, variable.dtype) * gradient
        self.assign(velocity, self.momentum * velocity - step)
        self.assign_add(variable, velocity)


@kreg.optimizers.register_optimizer(HeavyBall, momentum_holds_rate=True)
def heavy_ball(optimizer, variable, learning_rate):
    return kreg.optimizers.EffectiveStep(
        learning_rate / (1.0 - optimizer.momentum)
    )


OPTIMIZERS = {
    "SGD": lambda rate: optimizers.SGD(rate, momentum=0.9),
    "nesterov": lambda rate: optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "RMSprop": lambda rate: optimizers.RMSprop(
        rate, momentum=0.9, epsilon=1e-2
    ),
    "centered": lambda rate: optimizers.RMSprop(
        rate, momentum=0.9, centered=True, epsilon=1e-2
    ),
    "registered": lambda rate: HeavyBall(rate, momentum=0.9),
    "clipped": lambda rate: optimizers.SGD(rate, momentum=0.9, clipnorm=0.5),
}


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 8))
    beta = np.array([1.0, -1, 0.6, 0, 0, 0, -0.5, 0.05])
    y = x @ beta + 0.3 * rng.normal(size=160)
    return x.astype("float32"), y.astype("float32")


def model_with(optimizer):
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer="zeros",
        kernel_regularizer=kreg.L1(STRENGTH),
    )
    model = keras.Sequential([keras.Input((8,)), layer])
    kreg.bind(model)
    model.compile(
        optimizer, "mse", steps_per_execution=10 if BACKEND != "torch" else 1
    )
    return model


def assert_is_lasso(model):
    estimator = Lasso(STRENGTH / 2, fit_intercept=False, tol=1e-12)
    lasso = estimator.fit(*(a.astype("float64") for a in data())).coef_
    w = np.concatenate(model.get_weights()).ravel()
    np.testing.assert_array_equal(w == 0.0, lasso == 0.0)
    np.testing.assert_allclose(w, lasso, atol=1e-4)


@pytest.mark.parametrize("rate", few_of(RATES, "cosine"))
@pytest.mark.parametrize("name", few_of(OPTIMIZERS, "SGD", "RMSprop"))
def test_weights_end_at_the_minimum(name, rate):
    inner = OPTIMIZERS[name](RATES[rate]())
    model = model_with(kreg.ProximalOptimizer(inner))
    fit_steps(model, *data(), STEPS)
    assert_is_lasso(model)


@pytest.mark.thorough
def test_a_callback_may_lower_the_rate():
    x, y = data()
    model = model_with(
        kreg.ProximalOptimizer(optimizers.SGD(RATE, momentum=0.9))
    )
    fit_steps(model, x, y, 1000)
    lower = keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: 0.99 * rate
    )
    model.fit(x, y, batch_size=160, epochs=300, verbose=0, callbacks=[lower])
    assert_is_lasso(model)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["SGD", "centered"])
def test_accumulated_gradients_count_as_one_update(name):
    """A schedule counts every batch, the momentum only updates."""
    inner = OPTIMIZERS[name](schedules.CosineDecay(RATE, 4 * STEPS))
    inner.gradient_accumulation_steps = 4
    model = model_with(kreg.ProximalOptimizer(inner))
    fit_steps(model, *data(), 4 * STEPS, parts=4)
    assert_is_lasso(model)


@pytest.mark.thorough
def test_under_loss_scaling():
    scaled = optimizers.LossScaleOptimizer(
        kreg.ProximalOptimizer(OPTIMIZERS["SGD"](RATES["cosine"]())),
        initial_scale=1024.0,
    )
    model = model_with(scaled)
    fit_steps(model, *data(), STEPS)
    assert_is_lasso(model)


@pytest.mark.thorough
def test_members_have_rates_of_their_own():
    x, y = data()
    members = optimizers.OptimizerMap(
        optimizers.SGD(RATE, momentum=0.9),
        {"falling/.*": OPTIMIZERS["SGD"](RATES["cosine"]())},
    )
    model = of_two_members(("falling", "other"), members, STRENGTH)
    fit_steps(model, (x[:, :4], x[:, 4:]), y, STEPS)
    assert_is_lasso(model)


@pytest.mark.tensorflow
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["SGD", "centered"])
def test_on_several_devices(name, mirrored_strategy):
    with mirrored_strategy.scope():
        model = model_with(
            kreg.ProximalOptimizer(OPTIMIZERS[name](RATES["cosine"]()))
        )
    fit_steps(model, *data(), STEPS)
    assert_is_lasso(model)


HEAVY = {
    "SGD": lambda: optimizers.SGD(RATE, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(RATE, momentum=0.9, nesterov=True),
    "registered": lambda: HeavyBall(RATE, momentum=0.9),
}


@pytest.mark.parametrize("name", few_of(HEAVY, "SGD"))
def test_a_frozen_support_forgets_old_rates(name):
    x, y = data()
    inner = HEAVY[name]()
    model = model_with(kreg.ProximalOptimizer(inner))
    fit_steps(model, x, y, 300)
    kreg.freeze_support(model)
    inner.learning_rate = RATE / 1000
    fit_steps(model, x, y, 200)
    (start,) = model.get_weights()
    velocity = keras.ops.convert_to_numpy(inner.momentums[0])
    kreg.unfreeze_support(model)
    fit_steps(model, x, y, 20)
    wanted = after_steps(start, velocity, inner, 20)
    np.testing.assert_allclose(model.get_weights()[0], wanted, atol=2e-6)


def after_steps(w, velocity, optimizer, count):
    """Weights after steps at a constant rate, in double precision."""
    x, y = (a.astype("float64") for a in data())
    w, velocity = w.astype("float64").ravel(), velocity.ravel()
    m, rate = optimizer.momentum, float(optimizer.learning_rate)
    for _ in range(count):
        update = -rate * 2.0 / len(x) * x.T @ (x @ w - y)
        velocity = m * velocity + update
        w = w + (m * velocity + update if optimizer.nesterov else velocity)
        least = rate / (1.0 - m) * STRENGTH
        w = np.sign(w) * np.maximum(np.abs(w) - least, 0.0)
    return w[:, None]


@pytest.mark.parametrize("name", few_of(HEAVY, "SGD"))
def test_a_weight_left_out_keeps_the_rates_of_its_momentum(name):
    """As where one optimizer updates several parts of a model in turn."""
    layers = [
        keras.layers.Dense(
            1,
            use_bias=False,
            kernel_initializer="ones",
            kernel_regularizer=kreg.L1(STRENGTH),
        )
        for _ in range(2)
    ]
    inputs = keras.Input((3,))
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    optimizer = kreg.ProximalOptimizer(HEAVY[name]())
    optimizer.momentum = 0.5
    kreg.bind(model, optimizer)
    optimizer.build(model.trainable_variables)
    balance = keras.ops.full((3, 1), -STRENGTH)
    first, other = (layer.kernel for layer in layers)
    for _ in range(30):
        optimizer.apply([balance], [first])
    at_rest = keras.ops.convert_to_numpy(first)
    optimizer.learning_rate = RATE / 1000
    for _ in range(30):
        optimizer.apply([balance], [other])
    for _ in range(30):
        optimizer.apply([balance], [first])
    np.testing.assert_allclose(first, at_rest, atol=1e-6)


def test_a_constant_rate_is_used_as_it_is():
    inner = optimizers.SGD(0.037, momentum=0.99)
    model = model_with(kreg.ProximalOptimizer(inner))
    fit_steps(model, *data(), 30)
    (average,) = [
        v for v in model.optimizer.variables if "average_rate" in v.name
    ]
    np.testing.assert_array_equal(average, inner.learning_rate)


def test_the_average_of_steps_goes_on_without_the_penalty():
    model = model_with(kreg.ProximalOptimizer(OPTIMIZERS["centered"](RATE)))
    fit_steps(model, *data(), 20)
    kreg.freeze_support(model)
    model.optimizer.learning_rate = 1e-3 * RATE
    fit_steps(model, *data(), 100)
    (average,) = [
        keras.ops.convert_to_numpy(v)
        for v in model.optimizer.variables
        if "kernel_average_step" in v.name
    ]
    longest = 1e-3 * RATE / (1.0 - 0.9) / 1e-2**0.5
    assert 0.0 < average.max() < 2.0 * longest


@pytest.mark.parametrize("name", few_of(["SGD", "centered"], "SGD"))
def test_the_average_is_saved_with_the_optimizer(name, tmp_path):
    x, y = data()
    model = model_with(
        kreg.ProximalOptimizer(OPTIMIZERS[name](RATES["cosine"]()))
    )
    fit_steps(model, x, y, 20)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    kreg.bind(loaded)
    for each in (model, loaded):
        fit_steps(each, x, y, 20)
    np.testing.assert_array_equal(
        *(m.get_weights()[0] for m in (model, loaded))
    )


def test_the_state_of_the_inner_optimizer_will_do():
    """Its momentum goes on; the average begins with the present rate."""
    x, y = data()
    wrapped = kreg.ProximalOptimizer(optimizers.SGD(RATE, momentum=0.9))
    model = model_with(wrapped)
    fit_steps(model, x, y, 20)
    inner = [
        keras.ops.convert_to_numpy(v) for v in wrapped.inner_optimizer.variables
    ]
    other = kreg.ProximalOptimizer(optimizers.SGD(RATE, momentum=0.9))
    twin = model_with(other)
    other.build(twin.trainable_variables)
    other.set_weights(inner)
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        fit_steps(each, x, y, 20)
    np.testing.assert_array_equal(*(m.get_weights()[0] for m in (model, twin)))
