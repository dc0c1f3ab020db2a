"""Custom training steps and custom training loops."""

import keras
import numpy as np
import pytest
from custom_steps import CustomStep, OwnLoss
from keras import ops

import kreg

BACKEND = keras.backend.backend()
DOUBLING = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 2.0)


def network(cls=keras.Model):
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(
        1, kernel_initializer="ones", kernel_regularizer=kreg.L1(DOUBLING)
    )(inputs)
    return cls(inputs, outputs)


def expected(step):
    return 3 * 0.5 * 2.0**step


X, Y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32")


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("cls", [CustomStep, OwnLoss])
def test_overridden_train_step(cls, eagerly):
    model = network(cls)
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=eagerly)
    kreg.bind(model)
    for step in range(4):
        history = model.fit(X, Y, batch_size=8, epochs=1, verbose=0).history
        np.testing.assert_allclose(history["loss"], expected(step), rtol=1e-6)


def test_custom_step_that_lists_its_metrics_logs_the_parts():
    model = network(CustomStep)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    history = model.fit(X, Y + 2.0, batch_size=8, verbose=0).history
    np.testing.assert_allclose(history["penalty"], [1.5], rtol=1e-6)
    np.testing.assert_allclose(history["data_loss"], [4.0], rtol=1e-6)


class OwnMetrics(CustomStep):
    """A model whose `metrics` lists its own metric alone."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]


def test_model_that_overrides_metrics_is_exact():
    model = network(OwnMetrics)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    history = model.fit(X, Y, batch_size=4, epochs=2, verbose=0).history
    expected_means = [
        (expected(0) + expected(1)) / 2,
        (expected(2) + expected(3)) / 2,
    ]
    np.testing.assert_allclose(history["loss"], expected_means, rtol=1e-6)
    np.testing.assert_allclose(history["penalty"], expected_means, rtol=1e-6)
    np.testing.assert_allclose(history["data_loss"], [0.0, 0.0], atol=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("compiled", [None, False, True])
def test_gradient_tape_loop(compiled):
    import tensorflow as tf

    model = network()
    optimizer = keras.optimizers.SGD(0.0)
    kreg.bind(model, optimizer)

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = ops.mean((model(x, training=True) - y) ** 2)
            loss += sum(model.losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    if compiled is not None:
        step = tf.function(step, jit_compile=compiled)
    for i in range(4):
        np.testing.assert_allclose(step(X, Y), expected(i), rtol=1e-6)
    penalty = model.layers[-1].kernel_regularizer
    penalty.multiplier = 0.5
    np.testing.assert_allclose(step(X, Y), 0.5 * expected(4), rtol=1e-6)


@pytest.mark.skipif(BACKEND != "torch", reason="a torch loop")
def test_torch_loop():
    import torch

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    clock = keras.optimizers.SGD(0.0)
    kreg.bind(model, clock)
    for i in range(4):
        optimizer.zero_grad()
        loss = ops.mean((model(X) - ops.convert_to_tensor(Y)) ** 2)
        loss = loss + sum(model.losses)
        loss.backward()
        optimizer.step()
        clock.iterations.assign(i + 1)
        np.testing.assert_allclose(loss.item(), expected(i), rtol=1e-6)


if BACKEND == "jax":
    import jax


@pytest.mark.skipif(BACKEND != "jax", reason="a JAX loop")
class TestJaxLoop:
    def loss_of(self, model, tv, ntv):
        y_pred, ntv, losses = model.stateless_call(
            tv, ntv, X, return_losses=True
        )
        return ops.mean((y_pred - Y) ** 2) + sum(losses), ntv

    def state(self, model, optimizer):
        optimizer.build(model.trainable_variables)
        return [
            [v.value for v in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                optimizer.variables,
            )
        ]

    def test_told_the_step(self):
        model, optimizer = network(), keras.optimizers.SGD(0.0)
        kreg.bind(model, optimizer)
        tv, ntv, ov = self.state(model, optimizer)

        @jax.jit
        def step(tv, ntv, ov):
            with kreg.binding.at_step(ov[0]):
                (loss, ntv), gradients = jax.value_and_grad(
                    lambda tv: self.loss_of(model, tv, ntv), has_aux=True
                )(tv)
            tv, ov = optimizer.stateless_apply(ov, gradients, tv)
            return loss, tv, ntv, ov

        for i in range(4):
            loss, tv, ntv, ov = step(tv, ntv, ov)
            np.testing.assert_allclose(loss, expected(i), rtol=1e-6)

    def test_not_told_the_step_is_refused(self):
        model, optimizer = network(), keras.optimizers.SGD(0.0)
        kreg.bind(model, optimizer)
        tv, ntv, _ = self.state(model, optimizer)
        with pytest.raises(ValueError, match=r"kernel.*at_step"):
            jax.jit(lambda tv: self.loss_of(model, tv, ntv))(tv)


def test_two_optimizers_of_one_model_keep_their_clocks():
    """Each part is bound with its own optimizer, as in a GAN."""
    parts = [network(), network()]
    optimizers = [keras.optimizers.SGD(0.0) for _ in parts]
    for part, optimizer in zip(parts, optimizers, strict=True):
        kreg.bind(part, optimizer)
    inputs = keras.Input((3,))
    whole = keras.Model(inputs, [part(inputs) for part in parts])
    whole.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(whole)
    for i, optimizer in enumerate(optimizers):
        optimizer.iterations.assign(2 * i + 1)
    losses = [float(ops.convert_to_numpy(loss)) for loss in whole.losses]
    assert losses == [expected(1), expected(3)]


def test_bind_again_with_another_optimizer():
    model = network()
    first, second = keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0)
    second.iterations.assign(3)
    kreg.bind(model, first)
    kreg.bind(model, second)
    assert float(ops.convert_to_numpy(model.losses[0])) == expected(3)


@pytest.mark.parametrize("model", [None, 3, keras.layers.Dense(1)], ids=repr)
def test_bind_needs_a_model(model):
    with pytest.raises(TypeError, match=r"`model` must be a `keras\.Model`"):
        kreg.bind(model)


def test_bind_needs_an_optimizer():
    with pytest.raises(TypeError, match="`optimizer` must be a"):
        kreg.bind(network(), "adam")
